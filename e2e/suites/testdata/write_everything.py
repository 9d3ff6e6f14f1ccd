"""Changes mail with every writing command that imaplib has, and prints what it saw as JSON."""

import imaplib
import json
import re
import sys
import time

host, port, user, password = sys.argv[1:]
problems = []


def expect(what, condition, detail=""):
    if not condition:
        problems.append(f"{what}: {detail}")


def ok(what, answer, want="OK"):
    typ, data = answer
    expect(what, typ == want, f"{typ} {data!r}"[:300])
    return data


def count(box):
    return int(re.search(rb"MESSAGES (\d+)", ok("status", m.status(box, "(MESSAGES)"))[0]).group(1))


def text(name):
    return f"From: a@example.org\r\nSubject: {name}\r\nMessage-ID: <{name}@imaplib.example>\r\n\r\n{name}\r\n".encode()


m = imaplib.IMAP4(host, int(port))
ok("login", m.login(user, password))
offered = ok("capability", m.capability())[0].decode().split()
for name in ("UIDPLUS", "MOVE", "MULTIAPPEND", "REPLACE", "CREATE-SPECIAL-USE", "BINARY", "QUOTA", "QUOTA=RES-STORAGE"):
    expect("capability", name in offered, f"{name} is not among {offered}")

# Mailboxes.
ok("create", m.create("Py"))
ok("create again", m.create("Py"), "NO")
ok("create below", m.create('"Py/Sub folder"'))
ok("create to remove", m.create("PyGone"))
ok("delete", m.delete("PyGone"))
ok("delete again", m.delete("PyGone"), "NO")
ok("delete INBOX", m.delete("INBOX"), "NO")
ok("rename", m.rename("Py", "Python"))
ok("rename of nothing", m.rename("Py", "Other"), "NO")
ok("subscribe", m.subscribe("Python"))
ok("unsubscribe", m.unsubscribe('"Python/Sub folder"'))
ok("subscribe again", m.subscribe('"Python/Sub folder"'))
names = b" ".join(ok("list", m.list('""', "Py*")))
expect("list", b"Python" in names and b"Sub folder" in names and b"PyGone" not in names, names)

# Appending.
for i in range(6):
    ok("append", m.append("Python", r"(\Seen $Py)", imaplib.Time2Internaldate(time.time() - 3600 * i), text(f"append-{i}")))
ok("append without anything", m.append("Python", None, None, text("append-6")))
refused = ok("append to nothing", m.append("Nowhere", None, None, text("lost")), "NO")
expect("append to nothing", b"TRYCREATE" in refused[0], refused)

# Flags.
ok("select", m.select("Python"))
expect("count", count("Python") == 7, count("Python"))
for op, flags, want in (
    ("+FLAGS", r"(\Flagged)", rb"\Flagged"),
    ("-FLAGS", r"(\Seen)", b"FLAGS"),
    ("FLAGS", r"(\Answered $Py)", rb"\Answered"),
):
    data = ok(op, m.store("1:3", op, flags))
    expect(op, len(data) == 3 and all(want in d for d in data), data)
ok("silent", m.store("4", "+FLAGS.SILENT", r"(\Draft)"))
ok("uid store", m.uid("STORE", "5", "+FLAGS", r"(\Flagged $More)"))
ok("seen by reading", m.fetch("7", "(BODY[TEXT])"))
data = ok("fetch", m.fetch("7", "(FLAGS)"))
expect("seen by reading", rb"\Seen" in data[0], data)

# Copying and moving.
ok("copy", m.copy("1:2", '"Python/Sub folder"'))
ok("uid copy", m.uid("COPY", "3", '"Python/Sub folder"'))
ok("uid move", m.uid("MOVE", "4", '"Python/Sub folder"'))
expect("copy to nothing", b"TRYCREATE" in ok("copy to nothing", m.copy("1", "Nowhere"), "NO")[0])
expect("copies", count('"Python/Sub folder"') == 4, count('"Python/Sub folder"'))
expect("left", count("Python") == 6, count("Python"))

# Quota: none is configured, so that there are no roots.
root, quota = ok("getquotaroot", m.getquotaroot("Python"))
expect("getquotaroot", root == [b"Python"] and quota == [None], (root, quota))
ok("getquota", m.getquota(user), "NO")

# Removing.
ok("mark", m.store("1:2", "+FLAGS", r"(\Deleted)"))
freed = ok("deleted storage", m.status("Python", "(DELETED DELETED-STORAGE)"))[0]
expect("deleted storage", re.search(rb"DELETED 2 DELETED-STORAGE %d\)" % (2 * len(text("append-0"))), freed), freed)
ok("uid expunge", m.uid("EXPUNGE", "1"))
expect("uid expunge", count("Python") == 5, count("Python"))
gone = ok("expunge", m.expunge())
expect("expunge", gone[-1] == b"1", gone)  # imaplib returns those of MOVE and UID EXPUNGE, too
ok("mark again", m.store("1", "+FLAGS", r"(\Deleted)"))
ok("close", m.close())
expect("close", count("Python") == 3, count("Python"))

# A mailbox that is only looked at is not changed.
ok("examine", m.select("Python", readonly=True))
ok("store while examining", m.store("1", "+FLAGS", r"(\Deleted)"), "NO")
ok("unselect", m.unselect())
typ, _ = m.logout()
expect("logout", typ == "BYE", typ)
print(json.dumps({"Problems": problems}))
