"""Another program at popfetchd's mbox. It obeys commands from stdin, a JSON object a line, and answers each with one."""
import base64
import fcntl
import json
import mailbox
import os
import sys
import time

PAUSE = 0.002  # between two tries to lock
STAMP = b"From neighbour@example.org Thu Jan  1 00:00:00 2026\n"


def opened(path):
    """The mbox, with the locks that Python's own module takes: fcntl, then a dot lock that names nobody."""
    while True:
        box = mailbox.mbox(path)
        try:
            box.lock()
            return box
        except mailbox.ExternalClashError:
            box.close()
            time.sleep(PAUSE)


def dot_lock(path):
    own = "%s.%d" % (path, os.getpid())
    with open(own, "w") as f:
        f.write("%d\n" % os.getpid())
    try:
        while True:
            try:
                os.link(own, path + ".lock")
                return
            except FileExistsError:
                time.sleep(PAUSE)
    finally:
        os.unlink(own)


def append(path, message, how):
    message = base64.b64decode(message)
    if how == "python":
        box = opened(path)
        box.add(message)
        box.flush()
        box.unlock()
        box.close()
        return
    if how == "dot":
        dot_lock(path)
    f = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    if how == "fcntl":
        fcntl.lockf(f, fcntl.LOCK_EX)
    text = STAMP + message + b"\n"
    if os.write(f, text) != len(text):
        raise OSError("short write")
    os.close(f)
    if how == "dot":
        os.unlink(path + ".lock")


def subject(message):
    for line in message.split(b"\n"):
        if line.startswith(b"Subject: "):
            return line[9:].decode()
    return ""


def rewrite(path, delete, mark):
    """Deletes by the beginning of the subject, and marks, as mail readers do. A new file comes in the place of the old one."""
    box = opened(path)
    deleted = []
    for key in list(box.keys()):
        message = box.get_bytes(key)
        name = subject(message)
        if name.startswith(tuple(delete)):
            box.discard(key)
            deleted.append(name)
        elif mark:
            head, end, body = message.partition(b"\n\n")
            fields = [f for f in head.split(b"\n") if not f.startswith((b"Status:", b"X-Status:"))]
            box[key] = b"\n".join(fields + [b"Status: RO", b"X-Status: F"]) + end + body
    try:
        box.flush()
    except mailbox.ExternalClashError:
        pass  # comes after the new file is in place, when somebody tried its lock before Python had that one too
    box.unlock()
    box.close()
    return deleted


held = {}


def hold(path, how):
    if how == "dot":
        dot_lock(path)
        held["dot"] = path + ".lock"
    else:
        held["fcntl"] = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.lockf(held["fcntl"], fcntl.LOCK_EX)


def release():
    if "dot" in held:
        os.unlink(held.pop("dot"))
    if "fcntl" in held:
        os.close(held.pop("fcntl"))


for line in sys.stdin:
    command = json.loads(line)
    answer = globals()[command.pop("do")](**command)
    print(json.dumps({"deleted": answer or []}), flush=True)
