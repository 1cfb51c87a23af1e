"""Every record as a line of JSON, stream by stream, as a reader of the stream gets them: a fork begins with what it shares."""

import json

from folder import Tail
from frames import Damaged
from kinds import KINDS
from verify import Stream


def _text(data):
    try:
        return {"payload": data.decode()}
    except UnicodeDecodeError:
        return {"payload_hex": data.hex()}


def _some(data):
    return data.hex() if any(data) else None


class Contents:
    """All records of a log in memory, by stream."""

    def __init__(self, folder):
        self.folder, self.records, self.streams = folder, {}, {}
        for entry in folder.runs:
            for _, record in folder.run(entry).records():
                self._take(record)
        tip = (folder.runs[-1]["last"], folder.runs[-1]["hash"]) if folder.runs else folder.origin
        for _, _, records in Tail(folder, tip).commits():
            for record in records:
                self._take(record)

    def _take(self, record):
        if record.stream not in self.streams:
            _, base = record.extras.get("parent", (None, 0))
            self.streams[record.stream] = Stream(base)
            self.records[record.stream] = []
        self.streams[record.stream].take(record)
        self.records[record.stream].append(record)

    def find(self, wanted):
        """Ids of the streams with this name or id; all of them if it is None."""
        if wanted is None:
            return sorted(self.streams)
        return sorted(key for key, stream in self.streams.items()
                      if key.hex() == wanted or stream.name and stream.name[1] == wanted)

    def of(self, stream_id):
        """(stream that has it, record) of all that can be read in a stream. What was given up is not, even if it is still there."""
        stream, chain = self.streams[stream_id], []
        if not stream.deleted or stream.erased:
            above, owner, key = None, stream, stream_id
            while owner:
                chain.append((key, above))
                if not owner.parent or owner.parent[0] not in self.streams:
                    break
                key, position = owner.parent
                above = position if above is None else min(above, position)
                owner = self.streams[key]
        else:
            yield from ((stream_id, record) for record in self.records[stream_id] if record.kind < 16)
            return
        done = stream.trimmed
        for key, above in reversed(chain):
            for record in self.records[key]:
                if record.position > max(done, self.streams[key].trimmed) and (above is None or record.position <= above):
                    done = record.position
                    yield key, record

    def lines(self, wanted):
        for stream_id in self.find(wanted):
            name = self.streams[stream_id].name
            subs = {}
            for owner, record in self.of(stream_id):
                yield json.dumps(self._line(stream_id, name, owner, record, subs), ensure_ascii=False)

    def _line(self, stream_id, name, owner, record, subs):
        extras = {} if self.streams[owner].erased else record.extras
        if "sub_stream" in extras:
            subs[record.sub_stream] = extras["sub_stream"][1]
        line = {
            "stream": stream_id.hex(), "principal": name[0] if name else None, "name": name[1] if name else None,
            "position": record.position, "kind": record.kind, "kind_name": KINDS.get(record.kind),
            "subject": record.subject, "sub_stream": _some(record.sub_stream), "sub_number": record.sub_number,
            "sub_name": subs.get(record.sub_stream), "commit": record.commit, "index": record.index,
            "time_us": record.time_us, "causation": _some(record.causation), "origin": record.origin,
        }
        if owner != stream_id:
            line["kept_in"] = owner.hex()
        if "parent" in extras:
            line["parent"] = {"stream": extras["parent"][0].hex(), "position": extras["parent"][1]}
        if "repeatable" in extras:
            key, fingerprint, parts = extras["repeatable"]
            line["repeatable"] = {"key": key.hex(), "fingerprint": fingerprint, "parts": [
                {"stream": part[0].hex(), "first": part[1], "last": part[2]} for part in parts]}
        if self.streams[owner].erased or record.erased:
            line["erased"] = True
            return line
        payload = record.payload
        if "blob" in extras:
            address, length = extras["blob"]
            line["blob"] = address.hex()
            payload = self.folder.part(f"blob-{address.hex()}")
            principal = (self.streams[owner].name or ("", ""))[0]
            if len(payload) != length or self.folder.address(principal, payload) != address:
                raise Damaged(f"{record}: blob-{address.hex()} was altered")
        return {**line, **_text(payload)}
