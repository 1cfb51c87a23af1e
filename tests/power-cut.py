#!/usr/bin/env python3
"""Power cuts on a real file system, without a power switch: the file system is shut down under a stopped driver.

usage: tests/power-cut.py [cycles] [driver binary] [seed] [--without-sync]

Each cycle: a driver works on a loop-mounted ext4 with its ledger on another file system, and beside it, on the same device, a bare
write+fdatasync loop as the control. Both are stopped (SIGSTOP, until their state is T: a sync that is under way while the file system
goes down would return 0), the file system is shut down without a flush, both are killed, the device is mounted again and both are
judged. With --without-sync the driver's syncs do nothing, which has to be found: it shows that the cuts cut. Prints a line per 10 cycles and a sum; ends with 1 if anything was lost. Needs root and loop devices, otherwise ends with 77.
"""

import fcntl
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

SKIPPED = 77
IMAGE_BYTES = 512 << 20
# _IOR('X', 125, __u32), and the flag "go down without writing anything".
EXT4_IOC_SHUTDOWN = (2 << 30) | (4 << 16) | (ord("X") << 8) | 125
NO_LOG_FLUSH = 2
# The store and the control are made anew after so many cuts: every judgement reads all of it.
CUTS_PER_STORE = 10


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True)


def shut_down(folder):
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
    finally:
        os.close(descriptor)


def stop(process):
    """Stops a process and waits until every one of its threads stands still."""
    process.send_signal(signal.SIGSTOP)
    tasks = f"/proc/{process.pid}/task"
    until = time.monotonic() + 10
    while True:
        states = []
        for task in os.listdir(tasks):
            with open(f"{tasks}/{task}/stat") as stat:
                states.append(stat.read().rpartition(")")[2].split()[0])
        if all(state == "T" for state in states):
            return
        if time.monotonic() > until:
            raise RuntimeError(f"threads of {process.pid} do not stop: {states}")


class Device:
    def __init__(self, folder):
        self.image = os.path.join(folder, "image")
        self.mounted = os.path.join(folder, "mounted")
        os.mkdir(self.mounted)
        with open(self.image, "wb") as image:
            image.truncate(IMAGE_BYTES)
        run("mkfs.ext4", "-q", "-F", self.image)

    def mount(self):
        run("mount", "-o", "loop", self.image, self.mounted)

    def unmount(self):
        # A process that was just killed may hold it for a moment.
        for _ in range(100):
            if subprocess.run(["umount", self.mounted], capture_output=True).returncode == 0:
                return
            time.sleep(0.02)
        raise RuntimeError(f"{self.mounted} can't be unmounted")


def words(line):
    return dict(word.split("=", 1) for word in line.split() if "=" in word)


def judge(driver, verb, folder, ledger):
    """The counts that the driver prints about a store, and what is wrong with it."""
    done = subprocess.run([driver, verb, folder, ledger], capture_output=True, text=True)
    found = words(done.stdout)
    if done.returncode != 0:
        return found, f"{verb}: {done.stdout.strip()} {done.stderr.strip()}"
    return found, None


def main():
    lies = [word for word in sys.argv if word == "--without-sync"]
    sys.argv = [word for word in sys.argv if word not in lies]
    cycles = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    driver = sys.argv[2] if len(sys.argv) > 2 else os.path.join(here, "target/debug/crash-driver")
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    if not os.path.exists(driver):
        sys.exit(f"there is no {driver}: cargo build -p flowstate-tests --bin crash-driver")
    if os.geteuid() != 0:
        print("skipped: a file system can only be mounted and shut down by root")
        sys.exit(SKIPPED)
    folder = tempfile.mkdtemp(prefix="power-cut-")
    choice = random.Random(seed)
    sums = {"cycles": 0, "acked": 0, "unanswered": 0, "broken": 0, "control_acked": 0, "control_lost": 0}
    device = None
    try:
        device = Device(folder)
        try:
            device.mount()
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            print(f"skipped: no loop device can be mounted: {getattr(error, 'stderr', error)}")
            sys.exit(SKIPPED)
        power_cuts(driver, device, folder, choice, cycles, sums, lies)
    finally:
        if device:
            subprocess.run(["umount", "-l", device.mounted], capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)
    print("sum:", line(sums))
    sys.exit(1 if sums["broken"] or sums["control_lost"] else 0)


def line(sums):
    return " ".join(f"{name}={value}" for name, value in sums.items())


def power_cuts(driver, device, folder, choice, cycles, sums, options):
    ledger, control_ledger = os.path.join(folder, "ledger"), os.path.join(folder, "control-ledger")
    data, control = os.path.join(device.mounted, "data"), os.path.join(device.mounted, "control")
    last = {}
    for cycle in range(cycles):
        if cycle % CUTS_PER_STORE == 0:
            shutil.rmtree(data, ignore_errors=True)
            if os.path.exists(ledger):
                os.remove(ledger)
        shutil.rmtree(control, ignore_errors=True)
        if os.path.exists(control_ledger):
            os.remove(control_ledger)
        os.sync()
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        seed = choice.getrandbits(63)
        at_work = [
            subprocess.Popen([driver, "control", control, control_ledger], **quiet),
            subprocess.Popen([driver, data, ledger, str(seed), "--cycle", str(cycle), *options], **quiet),
        ]
        time.sleep(choice.uniform(0.06, 0.5))
        for process in at_work:
            if process.poll() is not None:
                raise RuntimeError(f"cycle {cycle}, seed {seed}: ended by itself: {process.stderr.read()}")
            stop(process)
        shut_down(device.mounted)
        for process in at_work:
            process.kill()
            process.wait()
        device.unmount()
        device.mount()
        found, broken = judge(driver, "verify", data, ledger)
        bare, control_broken = judge(driver, "verify-control", control, control_ledger)
        sums["cycles"] += 1
        # A store's counts cover all of its cuts; the last one before it is made anew counts.
        last = found
        if (cycle + 1) % CUTS_PER_STORE == 0 or cycle + 1 == cycles:
            sums["acked"] += int(last.get("acked", 0))
            sums["unanswered"] += sum(int(n) for n in last.get("unanswered", "0").split("+"))
        sums["control_acked"] += int(bare.get("acked", 0))
        sums["control_lost"] += int(bare.get("lost", 0))
        for what in filter(None, [broken, control_broken]):
            print(f"cycle {cycle}, seed {seed}: {what}")
        if broken:
            sums["broken"] += 1
            raise SystemExit(f"broken after: {line(sums)}; the seed of the run and the cycle find it again")
        if (cycle + 1) % 10 == 0:
            print(line(sums), flush=True)


if __name__ == "__main__":
    main()
