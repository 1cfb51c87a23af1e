"""Checks a whole log: every file, every record, and the chain from its origin to its tip, over runs and segments."""

import json

import frames
from folder import Tail
from frames import ZERO, Damaged

SHOWN_MAX = 20


class Stream:
    """What is known of one stream: enough to tell what was given up from what is missing."""

    def __init__(self, base):
        self.name, self.parent = None, None
        self.last = base
        self.trimmed = 0
        self.deleted = self.erased = False
        self.gaps = []
        self.erased_records = []

    def take(self, record):
        extras = record.extras
        self.name = extras.get("stream", self.name)
        self.parent = extras.get("parent", self.parent)
        if record.kind == frames.STREAM_TRIMMED:
            self.trimmed = max(self.trimmed, record.origin - 1)
        if record.kind == frames.STREAM_DELETED:
            self.deleted, self.erased = True, self.erased or record.origin == 1
        if record.erased:
            self.erased_records.append(record.position)
        if record.position <= self.last:
            raise Damaged(f"{record} comes after record {self.last}")
        if record.position > self.last + 1:
            self.gaps.append((self.last + 1, record.position - 1))
        self.last = record.position

    def missing(self):
        """The first and last position of every gap that nothing in the stream accounts for."""
        given_up = self.last if self.deleted else self.trimmed
        return [(max(first, given_up + 1), last) for first, last in self.gaps if last > given_up]


class Verify:
    """One pass over a folder. `found` says what is wrong, `notes` what is worth knowing."""

    def __init__(self, folder):
        self.folder, self.found, self.notes = folder, [], []
        self.tip = folder.origin
        self.hashes = {self.tip[0]: self.tip[1]}
        self.streams, self.blobs, self.collapsed = {}, [], []
        self.counted = {"commits": 0, "records": 0, "erased": 0, "dropped": 0, "runs": 0, "unchained": 0}

    def damage(self, what):
        self.found.append(str(what))

    def run(self):
        for check in (self._runs, self._segments, self._accounts, self._blobs, self._files):
            try:
                check()
            except Damaged as error:
                self.damage(error)
        return not self.found

    def _advance(self, where, commit):
        number, digest = self.tip
        if commit.store != self.folder.store:
            self.damage(f"{where}: commit {commit.number} belongs to another store")
        if (commit.number, commit.previous) != (number + 1, digest):
            self.damage(f"{where}: commit {commit.number} does not link to commit {number}: "
                        "what comes before it was altered or replaced, or it was")
        self.tip = commit.number, commit.hash
        self.hashes[commit.number] = commit.hash
        self.counted["commits"] += 1
        self.counted["unchained"] += commit.records_digest == ZERO

    def _take(self, where, record):
        stream = self.streams.get(record.stream)
        if stream is None:
            _, base = record.extras.get("parent", (None, 0))
            stream = self.streams[record.stream] = Stream(base)
        try:
            stream.take(record)
        except Damaged as error:
            self.damage(f"{where}: {error}: it was put in another order, or is there twice")
        if "blob" in record.extras:
            self.blobs.append((record.stream, str(record), *record.extras["blob"]))
        self.counted["records"] += 1
        self.counted["erased"] += record.erased

    def _runs(self):
        for entry in self.folder.runs:
            if entry["first"] != self.tip[0] + 1:
                self.damage(f"{entry['name']} begins with commit {entry['first']}, not {self.tip[0] + 1}")
            try:
                self._run(self.folder.run(entry))
            except Damaged as error:
                self.damage(error)
                self.tip = entry["last"], entry["hash"]
            if self.tip != (entry["last"], entry["hash"]):
                self.damage(f"{entry['name']} does not end with the commit that the manifest says")
                self.tip = entry["last"], entry["hash"]

    def _run(self, run):
        """The chain needs the records in the order of their commits, and a run has them in that of their streams."""
        self.counted["runs"] += 1
        digests, raw_bytes = {}, {}
        for offset, record in run.checked_records():
            self._take(f"{run.name} at offset {offset}", record)
            digests.setdefault(record.commit, []).append((record.index, record.digest, str(record)))
            if not record.erased:
                raw_bytes[record.commit] = raw_bytes.get(record.commit, 0) + record.frame_bytes
        for _, (commit, index, digest) in run.stubs():
            digests.setdefault(commit, []).append((index, digest, "a record that was dropped"))
            self.counted["dropped"] += 1
        for offset, commit in run.commits():
            where = f"{run.name} at offset {offset}"
            self._advance(where, commit)
            found = sorted(digests.pop(commit.number, []))
            if not found and commit.records:
                self.collapsed.append(commit)
                self.counted["dropped"] += commit.records
            elif [index for index, _, _ in found] != list(range(commit.records)):
                missing = sorted(set(range(commit.records)) - {index for index, _, _ in found})
                self.damage(f"{run.name}: commit {commit.number} has {commit.records} records; "
                            f"missing are those with index {missing}, or others are there twice")
            elif commit.records_digest not in (ZERO, frames.sha256(*(digest for _, digest, _ in found))):
                self.damage(f"{run.name}: commit {commit.number} does not match its records, one was altered or replaced: "
                            + ", ".join(what for _, _, what in found[:5]))
            elif raw_bytes.get(commit.number, 0) > commit.body_bytes:
                self.damage(f"{run.name}: the records of commit {commit.number} are longer than they were")
        if digests:
            self.damage(f"{run.name} has records of commits {sorted(digests)[:5]}, which it does not list")

    def _segments(self):
        tail = Tail(self.folder, self.tip)
        for where, commit, records in tail.commits():
            self._advance(where, commit)
            for record in records:
                self._take(where, record)
        mark = self.folder.watermark()
        said = [(mark[0] if mark else 0, "the watermark"), (tail.proof, "a later commit")]
        for commit, who in said:
            if commit > tail.number:
                what = f"{tail.where}: {tail.why}" if tail.where else f"it is in none of {len(self.folder.segments)} segments"
                self.damage(f"commit {tail.number + 1} was acknowledged ({who} says so) and is missing or altered: {what}")
                return
        if mark and mark[1] and (mark[0] != tail.number or tail.where):
            self.damage(f"the log was closed after commit {mark[0]}, and something follows it")
        elif tail.where:
            self.notes.append(f"a torn tail, never acknowledged, which the next start cuts: {tail.where}: {tail.why}")

    def _accounts(self):
        """A commit of which nothing is left is vouched for by its header alone: what went must be what streams gave up."""
        gaps = 0
        for stream_id, stream in self.streams.items():
            parent, shared = stream.parent or (stream_id, 0)
            if parent not in self.streams or self.streams[parent].last < shared:
                self.damage(f"stream {stream_id.hex()} continues stream {parent.hex()} from position {shared}, "
                            "which is not there")
            gaps += sum(last - first + 1 for first, last in stream.gaps)
            for first, last in stream.missing():
                self.damage(f"records {first} to {last} of stream {stream_id.hex()} are missing, "
                            "and no record says that they were given up")
            if stream.erased_records and not stream.erased:
                self.damage(f"records {stream.erased_records[:5]} of stream {stream_id.hex()} have no payload, "
                            "and no record says that the stream was erased")
        dropped = self.counted["dropped"]
        if dropped > gaps and not self.found:
            at = ", ".join(str(commit.number) for commit in self.collapsed[:SHOWN_MAX])
            self.damage(f"{dropped} records are not there, and streams gave up only {gaps}: "
                        f"at the end of some stream some are missing; commits of which nothing is left: {at}")

    def _blobs(self):
        checked = {}
        for stream_id, record, address, length in self.blobs:
            stream = self.streams[stream_id]
            principal = stream.name[0] if stream.name else None
            key = address, principal
            if key not in checked:
                checked[key] = self._blob(address, length, principal)
            if checked[key]:
                self.damage(f"{record}: {checked[key]}")

    def _blob(self, address, length, principal):
        name = f"blob-{address.hex()}"
        try:
            content = self.folder.part(name)
        except Damaged as error:
            return str(error)
        if len(content) != length:
            return f"{name} has {len(content)} bytes, not {length}"
        if principal is not None and self.folder.address(principal, content) != address:
            return f"{name} was altered: its content does not give its address"
        return None

    def _files(self):
        folder, referred = self.folder, {f"blob-{address.hex()}" for _, _, address, _ in self.blobs}
        listed = {segment.name for segment in folder.segments} | {entry["name"] for entry in folder.runs}
        names = folder.names()
        for name in folder.free:
            if name not in names:
                self.damage(f"the free segment {name} is missing")
        clustered = folder.runs[-1]["last"] if folder.runs else folder.origin[0]
        for name in names:
            if not folder.is_part(name) or name in listed or name in folder.free or name == "watermark":
                if name.startswith("torn-"):
                    self.notes.append(f"{name}: a copy of what an earlier start cut off")
                continue
            if name.startswith("slot-"):
                head = frames.commit_head(folder.read(name))
                if head and head.store == folder.store and head.number > clustered:
                    self.damage(f"{name} holds commit {head.number}, and the manifest does not list it: it is too old")
                    continue
            if name not in referred:
                self.notes.append(f"{name}: nothing refers to it; the next start removes it")
        if folder.erasing == 2**64 - 1:
            self.notes.append("an erasure was begun and is not complete")
        elif folder.erasing:
            self.notes.append(f"an erasure said by commit {folder.erasing} or before is not complete")

    def head(self):
        """The tip, to be kept elsewhere: what is compared with it later can't have been rolled back unnoticed."""
        return {"store": self.folder.store.hex(), "commit": self.tip[0], "hash": self.tip[1].hex()}

    def compare(self, text):
        """With an exported head."""
        try:
            head = json.loads(text)
            store, commit, digest = bytes.fromhex(head["store"]), int(head["commit"]), bytes.fromhex(head["hash"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"not an exported head: {error!r}") from None
        if store != self.folder.store:
            self.damage(f"the head is of the store {store.hex()}, and this is {self.folder.store.hex()}")
        elif commit > self.tip[0]:
            self.damage(f"the log ends with commit {self.tip[0]} and had commit {commit} when the head was exported: "
                        "it was rolled back")
        elif commit < self.folder.origin[0]:
            self.notes.append(f"commit {commit} of the head was given up since")
        elif self.hashes.get(commit) != digest:
            self.damage(f"commit {commit} is not the one that the head was exported of: history was replaced")
