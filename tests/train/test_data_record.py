"""What must be the same when a training resumes."""

import hashlib

from cprec_lib.train.data_record import describe_sequences


def test_the_hash_is_that_of_windows_and_validation_part(data) -> None:
    parts = (data.train, data.valid.contexts, data.valid.targets)
    digest = hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest()
    found = describe_sequences(data)
    assert found["windows_sha256"] == digest
    assert (found["n_items"], found["max_len"]) == (data.n_items, data.max_len)
