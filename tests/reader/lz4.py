"""LZ4's block format, read: https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md"""


def decompress(data, raw_bytes):
    """Exactly `raw_bytes` bytes; ValueError if the block is malformed or of another length."""
    out, at, end = bytearray(), 0, len(data)
    try:
        while at < end:
            token = data[at]
            at += 1
            count = token >> 4
            if count == 15:
                while data[at] == 255:
                    count, at = count + 255, at + 1
                count, at = count + data[at], at + 1
            if at + count > end:
                raise ValueError("literals reach beyond the block")
            out += data[at:at + count]
            at += count
            if at == end:
                break
            offset = data[at] | data[at + 1] << 8
            at += 2
            count = (token & 15) + 4
            if count == 19:
                while data[at] == 255:
                    count, at = count + 255, at + 1
                count, at = count + data[at], at + 1
            start = len(out) - offset
            if offset == 0 or start < 0 or len(out) + count > raw_bytes:
                raise ValueError("a match reaches beyond the block")
            if offset >= count:
                out += out[start:start + count]
            else:
                out += (bytes(out[start:]) * (count // offset + 1))[:count]
    except IndexError:
        raise ValueError("the block is cut short") from None
    if len(out) != raw_bytes:
        raise ValueError("the block has another length when decompressed")
    return bytes(out)
