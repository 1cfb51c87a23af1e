#!/usr/bin/env python3
"""Reads the data folder of a Flowstate without Flowstate: written from docs/RECORDS.md and docs/FORMAT.md, with nothing but Python 3.9.

    flowstate_reader.py verify DATA [--head FILE]      check everything; --head also finds a log that was rolled back
    flowstate_reader.py dump DATA [--stream NAME|ID]   every record as a line of JSON
    flowstate_reader.py heads DATA                     number and hash of the last commit, to keep elsewhere

DATA is the folder that holds `log`, or a copy of `log` itself; nothing in it is changed. Ends with 0 (all is well), 1 (something
is damaged, altered or missing; stderr says what) or 2 (called wrongly, or the folder can't be read).
"""

import argparse
import json
import os
import sys

sys.dont_write_bytecode = True

from dump import Contents  # noqa: E402
from folder import Folder, Refused  # noqa: E402
from frames import Damaged  # noqa: E402
from verify import SHOWN_MAX, Verify  # noqa: E402


def tell(what):
    print(what, file=sys.stderr)


def report(verify):
    """Says what was found; the exit code."""
    for note in verify.notes:
        tell(f"note: {note}")
    for what in verify.found[:SHOWN_MAX]:
        tell(f"damaged: {what}")
    if len(verify.found) > SHOWN_MAX:
        tell(f"damaged: and {len(verify.found) - SHOWN_MAX} more")
    return 1 if verify.found else 0


def verify(folder, arguments):
    head = None
    if arguments.head:
        with open(arguments.head, encoding="utf-8") as file:
            head = file.read()
    checked = Verify(folder)
    checked.run()
    if head is not None:
        checked.compare(head)
    code = report(checked)
    if code == 0:
        print(json.dumps({**checked.counted, "streams": len(checked.streams), **checked.head()}))
    return code


def dump(folder, arguments):
    contents = Contents(folder)
    if arguments.stream is not None and not contents.find(arguments.stream):
        raise Refused(f"there is no stream {arguments.stream}")
    for line in contents.lines(arguments.stream):
        print(line)
    return 0


def heads(folder, _arguments):
    checked = Verify(folder)
    checked.run()
    code = report(checked)
    if code == 0:
        print(json.dumps(checked.head(), separators=(",", ":")))
    return code


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, act in (("verify", verify), ("dump", dump), ("heads", heads)):
        command = commands.add_parser(name)
        command.add_argument("data")
        command.set_defaults(act=act)
        if name == "verify":
            command.add_argument("--head")
        if name == "dump":
            command.add_argument("--stream")
    arguments = parser.parse_args()
    sys.stdout.reconfigure(encoding="utf-8")
    try:
        return arguments.act(Folder(arguments.data), arguments)
    except Damaged as error:
        tell(f"damaged: {error}")
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Refused, OSError, ValueError) as error:
        tell(f"error: {error}")
        return 2


if __name__ == "__main__":
    sys.exit(main())
