"""XXH3, 64 bits, seed 0: what checks the blocks of runs, what commits of format 1 are linked with, and what checks the records of a
commit without a chain. Slow: about 10 MB/s at best.
"""

import struct

MASK = (1 << 64) - 1
P32_1, P32_2, P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
P64_1, P64_2, P64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P64_4, P64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5

SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)


def _u64(data, at):
    return int.from_bytes(data[at:at + 8], "little")


def _fold(left, right):
    product = left * right
    return (product & MASK) ^ (product >> 64)


def _mix(data, at, secret):
    return _fold(_u64(data, at) ^ _u64(SECRET, secret), _u64(data, at + 8) ^ _u64(SECRET, secret + 8))


def _avalanche(value):
    value ^= value >> 37
    value = value * 0x165667919E3779F9 & MASK
    return value ^ (value >> 32)


def _middle(data):
    length = len(data)
    acc = length * P64_1
    if length <= 128:
        for pair in reversed(range((length - 1) // 32 + 1)):
            acc += _mix(data, 16 * pair, 32 * pair) + _mix(data, length - 16 * (pair + 1), 32 * pair + 16)
        return _avalanche(acc & MASK)
    for lane in range(8):
        acc += _mix(data, 16 * lane, 16 * lane)
    acc = _avalanche(acc & MASK)
    for lane in range(8, length // 16):
        acc += _mix(data, 16 * lane, 16 * (lane - 8) + 3)
    return _avalanche((acc + _mix(data, length - 16, 136 - 17)) & MASK)


_STRIPE = struct.Struct("<8Q")
_KEYS = [_STRIPE.unpack_from(SECRET, 8 * at) for at in range(16)]
_LAST_KEY, _SCRAMBLE, _MERGE = (_STRIPE.unpack_from(SECRET, at) for at in (121, 128, 11))


def _accumulate(acc, lanes, keys):
    for lane in range(8):
        value = lanes[lane]
        key = value ^ keys[lane]
        acc[lane ^ 1] += value
        acc[lane] = acc[lane] + (key & 0xFFFFFFFF) * (key >> 32) & MASK


def _long(data):
    length = len(data)
    acc = [P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1]
    stripes = (length - 1) // 64
    for stripe in range(stripes):
        _accumulate(acc, _STRIPE.unpack_from(data, 64 * stripe), _KEYS[stripe % 16])
        if stripe % 16 == 15:
            for lane in range(8):
                value = acc[lane] & MASK
                acc[lane] = (value ^ (value >> 47) ^ _SCRAMBLE[lane]) * P32_1 & MASK
    _accumulate(acc, _STRIPE.unpack_from(data, length - 64), _LAST_KEY)
    total = length * P64_1
    for lane in range(0, 8, 2):
        total += _fold(acc[lane] & MASK ^ _MERGE[lane], acc[lane + 1] & MASK ^ _MERGE[lane + 1])
    return _avalanche(total & MASK)


def xxh3_64(data):
    """Of 17 bytes or more: a commit header has 84, and a record no fewer than 110."""
    if len(data) <= 16:
        raise ValueError("no record and no commit header is that short")
    return _middle(data) if len(data) <= 240 else _long(data)
