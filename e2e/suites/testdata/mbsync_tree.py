"""Prints the messages of mbsync's Maildirs (mailbox, SHA-256 with CRLF, flags), or changes them as a mail client would."""

import hashlib
import os
import re
import sys

root = sys.argv[1]
boxes = {}
for path, dirs, files in os.walk(root):
    for name in files:
        if os.path.basename(path) in ("cur", "new") and not name.startswith("."):
            boxes.setdefault(os.path.relpath(os.path.dirname(path), root), []).append(os.path.join(path, name))
for names in boxes.values():
    names.sort()


def flags(name):
    return name.rpartition(":2,")[2] if ":2," in name else ""


def with_flags(name, letters):
    base = name.rpartition(":2,")[0] if ":2," in name else name
    folder, base = os.path.split(base)
    return os.path.join(os.path.dirname(folder), "cur", base + ":2," + "".join(sorted(letters)))


if sys.argv[2:] == ["change"]:
    inbox, work = boxes["INBOX"], boxes["Work"]
    for name in inbox[:3]:  # flags
        os.rename(name, with_flags(name, set(flags(name)) ^ {"F"}))
    for name in inbox[3:5]:  # removed
        os.rename(name, with_flags(name, set(flags(name)) | {"T"}))
    for name in work[:3]:  # moved: a new name without mbsync's UID
        new = re.sub(r",U=\d+", "", os.path.basename(name)).replace(":2,", "moved:2,")
        os.rename(name, os.path.join(root, "Lists", "cur", new))
    os.rename(work[3], with_flags(work[3], set(flags(work[3])) ^ {"S"}))
    for i, box in enumerate(("INBOX", "Work", "Neu")):  # written here; the last mailbox is new
        for sub in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(root, box, sub), exist_ok=True)
        with open(os.path.join(root, box, "new", f"1044266400.{i}.client"), "w") as f:
            f.write(f"Subject: written {i}\nMessage-ID: <written-{i}@mbsync.example>\n\nwritten in a Maildir\n")
else:
    lines = []
    for box, names in boxes.items():
        for name in names:
            with open(name, "rb") as f:
                raw = re.sub(rb"^X-TUID: .{12}\n", b"", f.read(), count=1, flags=re.M)  # mbsync's own
            lines.append(f"{box} {hashlib.sha256(raw.replace(bytes([10]), bytes([13, 10]))).hexdigest()} {flags(name)}")
    print("\n".join(sorted(lines)))
