"""
Recordings of webhooks: a file with one JSON document in each line, raw bytes as base64.

    {"v":1,"n","id","type","at","method","path","url","endpoint","headers":[[name,value]],"body",
     "attempt":{"status","latency_ms","answer","error"}|null}     a request and its answer
    {"v":1,"n","attempt":{…}}                                     the answer to n, known later

A file only grows. The last attempt at an id counts, so `s3 replay` can read and extend one file.
"""

from s3_sam3.errors import S3Error


class RecordingError(S3Error):
    """The file is no recording, or cannot be read or written; the message names it."""
