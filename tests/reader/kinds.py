"""Names of the kinds of records, as docs/RECORDS.md lists them. A number that is not here is of a newer version, or of a test."""

KINDS = {
    1: "LogRecovered",
    2: "StreamTrimmed",
    3: "StreamDeleted",
    4: "PrincipalErased",
    16: "SessionCreated",
    17: "RequestAccepted",
    18: "RequestStarted",
    19: "ItemAdded",
    20: "ContentAdded",
    21: "ContentDelta",
    22: "ContentDone",
    23: "ItemCompleted",
    24: "StateChanged",
    25: "ModelCalled",
    26: "ModelReplied",
    30: "RequestCompleted",
    31: "RequestFailed",
    32: "RequestInterrupted",
}
