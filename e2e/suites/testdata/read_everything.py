"""Reads a mailbox with every reading command that imaplib has, and prints what it saw as JSON."""

import imaplib
import json
import re
import sys
from email import message_from_bytes

host, port, user, password = sys.argv[1:]
problems = []


def expect(what, condition, detail=""):
    if not condition:
        problems.append(f"{what}: {detail}")


def ok(what, answer):
    typ, data = answer
    expect(what, typ == "OK", f"{typ} {data!r}"[:300])
    return data


m = imaplib.IMAP4(host, int(port))
expect("capability", "IMAP4REV1" in m.capabilities, m.capabilities)
ok("login", m.login(user, password))
ok("capability", m.capability())
ok("noop", m.noop())
ok("namespace", m.namespace())
boxes = ok("list", m.list())
ok("list %", m.list('""', "%"))
ok("lsub", m.lsub())
ok("status", m.status("INBOX", "(MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN)"))
if "ENABLE" in m.capabilities:
    ok("enable", m.enable("CONDSTORE"))
count = int(ok("select", m.select("INBOX", readonly=True))[0])

typ, data = m.search(None, "ALL")
expect("search", typ == "OK" and len(data[0].split()) == count, f"{typ} {count}")
ok("search text", m.search(None, "TEXT", '"linux"'))
ok("search or", m.search(None, "OR", "SEEN", "(FROM linux SINCE 1-Feb-2002)"))
ok("uid search", m.uid("SEARCH", None, "UNSEEN"))

numbers = ",".join(str(n) for n in range(1, 41))
whole = {}
for part in ok("fetch", m.fetch(numbers, "(UID RFC822)")):
    if isinstance(part, tuple):
        whole[int(part[0].split()[0])] = part[1]
expect("fetch RFC822", len(whole) == 40, len(whole))
for n, raw in list(whole.items())[:15]:
    msg = message_from_bytes(raw)
    head, _, text = raw.partition(b"\r\n\r\n")
    head += b"\r\n\r\n"
    size = int(re.search(rb"RFC822.SIZE (\d+)", ok("size", m.fetch(str(n), "(RFC822.SIZE)"))[0]).group(1))
    expect(f"size of {n}", size == len(raw), f"{size} {len(raw)}")
    for item, want in (
        ("BODY.PEEK[]", raw),
        ("BODY.PEEK[HEADER]", head),
        ("RFC822.HEADER", head),
        ("BODY.PEEK[TEXT]", text),
        ("RFC822.TEXT", text),
        ("BODY.PEEK[]<10.50>", raw[10:60]),
        (f"BODY.PEEK[]<{len(raw) + 5}.10>", b""),
    ):
        part = ok(item, m.fetch(str(n), f"({item})"))[0]
        got = part[1] if isinstance(part, tuple) else b""
        expect(f"{item} of {n}", got == want, f"{len(got)} bytes, want {len(want)}")
    part = ok("fields", m.fetch(str(n), "(BODY.PEEK[HEADER.FIELDS (SUBJECT FROM)])"))[0]
    subject = message_from_bytes(part[1])["Subject"]
    expect(f"subject of {n}", str(subject) == str(msg["Subject"]), subject)
    if msg.is_multipart() and msg.get_content_type() != "message/rfc822":
        first = msg.get_payload()[0]
        if not first.is_multipart():
            part = ok("part", m.fetch(str(n), "(BODY.PEEK[1])"))[0]
            got = part[1] if isinstance(part, tuple) else b""
            want = first.get_payload().replace("\r\n", "\n").strip()
            expect(f"part 1 of {n}", got.decode("ascii", "surrogateescape").replace("\r\n", "\n").strip() == want, len(got))
for macro in ("ALL", "FAST", "FULL"):
    ok(macro, m.fetch("1:20", macro))
ok("structures", m.fetch("1:*", "(ENVELOPE BODYSTRUCTURE BODY INTERNALDATE FLAGS UID)"))
ok("uid fetch", m.uid("FETCH", "1:*", "(FLAGS)"))
ok("check", m.check())

# A mailbox that is only looked at is not changed.
for what, call in (
    ("store", lambda: m.store("1", "+FLAGS", r"(\Seen)")),
    ("expunge", lambda: m.expunge()),
    ("move", lambda: m.uid("MOVE", "1:*", "Work")),
):
    try:
        typ, data = call()
        expect(f"{what} is refused", typ == "NO" and data and data[0], f"{typ} {data!r}"[:200])
    except imaplib.IMAP4.readonly:
        pass
ok("noop after refusals", m.noop())
ok("close", m.close())
ok("select again", m.select('"With space"', readonly=True))
if "UNSELECT" in m.capabilities:
    ok("unselect", m.unselect())
typ, _ = m.select("Nowhere", readonly=True)
expect("select of nothing", typ == "NO", typ)
typ, data = m.logout()
expect("logout", typ == "BYE", typ)
print(json.dumps({"Boxes": len(boxes), "Inbox": count, "Problems": problems}))
