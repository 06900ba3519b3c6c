"""Headers and bodies: what is encoded comes back, and what is damaged comes back as a cause."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion_rt.messages import Detections, Message
from fusion_rt.topics import topic_kind
from fusion_rt.transport.drops import Drop
from fusion_rt.transport.wire import (
    MAX_HEADER_BYTES,
    WIRE_VERSION,
    Header,
    MessageCodec,
    Payload,
    SlotRef,
    array_from_bytes,
    decode_header,
    describe,
    encode_header,
)
from tests.transport.samples import CAMERA, every_message

MESSAGES = every_message()


def header(**changes: object) -> Header:
    plain = Header(
        version=WIRE_VERSION,
        topic=CAMERA,
        node="nodes.camera",
        incarnation=1,
        seq=0,
        stamp_ns=10,
        sent_ns=11,
        body=msgspec.Raw(b"\x80"),
    )
    return msgspec.structs.replace(plain, **changes)


def fields(**changes: object) -> bytes:
    """A header's map with these fields changed, as another program might write it."""
    plain = msgspec.msgpack.decode(encode_header(header()))
    return msgspec.msgpack.encode({**plain, **changes})


def assert_same(got: Message, sent: Message) -> None:
    assert type(got) is type(sent)
    for name in sent.__struct_fields__:
        value, expected = getattr(got, name), getattr(sent, name)
        if isinstance(expected, np.ndarray):
            assert value.dtype == expected.dtype
            np.testing.assert_array_equal(value, expected)
        else:
            assert value == expected, name


@pytest.mark.parametrize("topic", MESSAGES)
def test_a_message_comes_back_as_it_was(topic: str) -> None:
    codec = MessageCodec(topic_kind(topic).message)
    body, arrays = codec.encode(MESSAGES[topic])
    got = codec.decode(msgspec.Raw(body), arrays)
    assert isinstance(got, Message)
    assert_same(got, MESSAGES[topic])


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 4), np.float16),
        np.arange(5, dtype=np.int64),
        np.zeros((0, 5), np.float32),
        np.float32(3).reshape(()),
        np.asfortranarray(np.arange(6, dtype=np.uint16).reshape(2, 3)),
    ],
)
def test_an_array_comes_back_with_its_shape_and_type(array: np.ndarray) -> None:
    got = array_from_bytes(describe(array), array.tobytes())
    assert isinstance(got, np.ndarray)
    assert got.dtype == array.dtype
    np.testing.assert_array_equal(got, array)
    assert not got.flags.writeable


stamps = st.integers(0, 2**63 - 1)
names = st.text(max_size=128)
slots = st.builds(
    SlotRef,
    ring=st.integers(0, 2**64 - 1),
    slot=st.integers(0, 63),
    generation=st.integers(0, 2**64 - 1),
    offset=st.integers(0, 2**28),
)
payloads = st.builds(
    Payload,
    dtype=st.sampled_from(["|u1", "<f4", "<i8"]),
    shape=st.lists(st.integers(0, 2**28), max_size=6).map(tuple),
    inline=st.none() | st.binary(max_size=64),
    slot=st.none() | slots,
)


@given(
    st.builds(
        Header,
        version=st.just(WIRE_VERSION),
        topic=names,
        node=names,
        incarnation=st.integers(0, 2**64 - 1),
        seq=st.integers(0, 2**48 - 1),
        stamp_ns=stamps,
        sent_ns=stamps,
        body=st.binary(max_size=64).map(lambda data: msgspec.Raw(msgspec.msgpack.encode(data))),
        payloads=st.lists(payloads, max_size=8).map(tuple),
        watermark_ns=st.none() | stamps,
        fingerprint=st.integers(0, 2**64 - 1),
        trace=st.lists(st.tuples(names, stamps), max_size=32).map(tuple),
    )
)
def test_a_header_comes_back_as_it_was(sent: Header) -> None:
    got = decode_header(encode_header(sent))
    assert isinstance(got, Header)
    assert bytes(got.body) == bytes(sent.body)
    assert msgspec.structs.replace(got, body=sent.body) == sent


@given(st.binary(max_size=200))
def test_any_bytes_are_a_header_or_a_cause(data: bytes) -> None:
    assert isinstance(decode_header(data), (Header, Drop))


@given(st.binary(max_size=200), st.sampled_from(sorted(MESSAGES)))
def test_any_body_is_a_message_or_invalid(body: bytes, topic: str) -> None:
    arrays = [np.zeros((), np.float32), np.zeros(3, np.uint8)]
    codec = MessageCodec(topic_kind(topic).message)
    assert isinstance(codec.decode(msgspec.Raw(body), arrays), (Message, Drop))


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", Drop.MALFORMED),
        (encode_header(header())[:-1], Drop.MALFORMED),
        (b"\x91" * 60_000 + b"\xc0", Drop.MALFORMED),
        (fields(body=[[[b"\0" * MAX_HEADER_BYTES]]]), Drop.MALFORMED),
        (fields(topic="x" * 129), Drop.MALFORMED),
        (fields(seq=-1), Drop.MALFORMED),
        (fields(seq=2**48), Drop.MALFORMED),
        (fields(seq="0"), Drop.MALFORMED),
        (fields(stamp_ns=2**63), Drop.MALFORMED),
        (fields(payloads=[{"dtype": "|O", "shape": [1]}]), Drop.MALFORMED),
        (fields(payloads=[{"dtype": "|u1", "shape": [2**63]}]), Drop.MALFORMED),
        (fields(payloads=[{"dtype": "|u1", "shape": [1] * 7}]), Drop.MALFORMED),
        (fields(payloads=[{"dtype": "|u1", "shape": [1]}] * 9), Drop.MALFORMED),
        (fields(topic=None), Drop.MALFORMED),
        (fields().replace(b"nodes.camera", b"nodes.c\xff\xffra"), Drop.MALFORMED),
        (fields(version=WIRE_VERSION + 1), Drop.WRONG_VERSION),
    ],
)
def test_a_damaged_header_is_a_cause(data: bytes, cause: Drop) -> None:
    assert decode_header(data) is cause


def test_unknown_newer_fields_are_ignored() -> None:
    got = decode_header(fields(colour="blue", nested={"deep": [1, 2, {}]}))
    assert isinstance(got, Header)
    codec = MessageCodec(Detections)
    body, arrays = codec.encode(MESSAGES["detections/fused"])
    newer = msgspec.msgpack.encode({**msgspec.msgpack.decode(body), "mood": "good"})
    assert isinstance(codec.decode(msgspec.Raw(newer), arrays), Detections)


def test_a_newer_field_of_a_newer_version_does_not_hide_the_version() -> None:
    assert decode_header(fields(version=2, more=[1])) is Drop.WRONG_VERSION


@pytest.mark.parametrize(
    ("shape", "nbytes"),
    [((5,), 4), ((), 0), ((2**28,) * 6, 8), ((0, 2**28, 2**28, 2**28), 0)],
)
def test_a_descriptor_that_lies_about_size_is_refused(shape: tuple[int, ...], nbytes: int) -> None:
    assert array_from_bytes(Payload("|u1", shape), bytes(nbytes)) is Drop.BAD_DESCRIPTOR


@pytest.mark.parametrize("index", [-1, 1, 2**63, 0.0, True, "0", None, [0]])
def test_a_body_that_names_an_array_which_is_not_there_is_invalid(index: object) -> None:
    codec = MessageCodec(Detections)
    body = msgspec.msgpack.encode(
        {"stamp_ns": 1, "boxes": index, "scores": index, "class_ids": index}
    )
    assert codec.decode(msgspec.Raw(body), [np.zeros((0, 9), np.float32)]) is Drop.INVALID


def test_no_length_is_believed_before_its_bytes_are_there() -> None:
    codec = MessageCodec(Detections)
    four_billion = b"\xdd\xff\xff\xff\xff"
    body = b"\x82\xa8stamp_ns\x01\xa7classes" + four_billion + b"\xa1a"
    assert codec.decode(msgspec.Raw(body), []) is Drop.INVALID


def test_an_array_type_that_no_reader_knows_is_refused() -> None:
    with pytest.raises(TypeError, match=r"payload: expected one of \|u1, .*<f8, got >f4"):
        describe(np.zeros(3, ">f4"))


def test_a_field_that_is_no_array_is_refused() -> None:
    message = msgspec.structs.replace(MESSAGES["detections/fused"], boxes=object())
    with pytest.raises(TypeError, match="expected ndarray, got object"):
        MessageCodec(Detections).encode(message)
