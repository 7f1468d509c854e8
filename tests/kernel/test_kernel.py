"""The kernel's checksums and text codec, compared with google-crc32c, xxhash and CPython."""

import google_crc32c
import numpy as np
import pytest
import xxhash
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mmap_ninja import BytesMmap, CorruptDatasetError, StringsMmap, _kernel


@given(st.binary(max_size=5000), st.integers(0, 2**64 - 1))
@example(b"", 0)
@example(bytes(65536), 1 << 48)
def test_xxh64_matches_xxhash(data, seed):
    assert _kernel.xxh64(data, seed) == xxhash.xxh64_intdigest(data, seed=seed)


@given(st.binary(max_size=5000))
def test_crc32c_matches_google_crc32c(data):
    assert _kernel.crc32c(data) == google_crc32c.value(data)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    """Passes raw bytes to the kernel's decoder, through a text dataset whose payload is overwritten in place."""
    path = tmp_path_factory.mktemp("decoder") / "ds"
    room = 1 << 16
    StringsMmap.from_strings(path, ["x" * room])
    payload, offsets = path / "c0.data-1", path / "c0.offsets-1"

    def decode(data):
        with payload.open("r+b") as file:
            file.seek(room - len(data))
            file.write(data)
        with offsets.open("r+b") as file:
            file.write(np.array([room - len(data), room], np.uint64).tobytes())
        return StringsMmap(path, "r")[0]

    return decode


def expect_as_cpython(decode, data):
    try:
        expected = data.decode()
    except UnicodeDecodeError as error:
        with pytest.raises(
            CorruptDatasetError, match=f"sample 0: expected UTF-8, found an error at byte {error.start}"
        ):
            decode(data)
    else:
        decoded = decode(data)
        assert decoded == expected
        assert decoded.isascii() == expected.isascii()
        assert decoded.__sizeof__() <= expected.__sizeof__()


BOUNDARIES = [0x0, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF]
PIECES = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=40).map(str.encode),
    st.sampled_from([chr(point).encode() for point in BOUNDARIES]),
    st.sampled_from([b"plain ascii text of some length, longer than a vector or two; " * 3, "Größe ".encode() * 9]),
)
BROKEN = st.one_of(
    st.binary(max_size=4),
    st.sampled_from([b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\xed\xa0\x80", b"\xed\xbf\xbf"]),
    st.sampled_from([b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xff", b"\x80", b"\xe2\x82", b"\xf0\x9f\x98"]),
)


@given(st.lists(PIECES, max_size=12).map(b"".join))
@settings(max_examples=300)
def test_decoder_matches_cpython_on_valid_text(decoder, data):
    expect_as_cpython(decoder, data)


@given(st.lists(st.one_of(PIECES, BROKEN), max_size=12).map(b"".join))
@settings(max_examples=300)
def test_decoder_matches_cpython_on_any_bytes(decoder, data):
    expect_as_cpython(decoder, data)


@pytest.mark.parametrize("before", [0, 1, 15, 16, 17, 63, 64, 65, 200])
def test_decoder_matches_cpython_at_every_boundary(decoder, before):
    for point in BOUNDARIES:
        whole = chr(point).encode()
        for length in range(len(whole) + 1):
            for after in (0, 1, 70):
                expect_as_cpython(decoder, b"a" * before + whole[:length] + b"z" * after)


@given(st.lists(st.text(), max_size=10))
def test_encoder_matches_cpython(samples):
    try:
        expected = "".join(samples).encode()
    except UnicodeEncodeError:
        with pytest.raises(ValueError, match="lone surrogate"):
            _kernel.encode_text(samples, "ds", 0)
    else:
        payload, ends = _kernel.encode_text(samples, "ds", 0)
        assert payload == expected
        assert np.frombuffer(ends, np.uint64).tolist() == np.cumsum([len(s.encode()) for s in samples]).tolist()


@given(st.lists(st.text(st.characters(exclude_categories=[]), max_size=300), min_size=1, max_size=4))
def test_encoder_matches_cpython_with_surrogates(samples):
    test_encoder_matches_cpython.hypothesis.inner_test(samples)


def test_invalid_text_is_reported_by_every_way_to_read(tmp_path):
    path = tmp_path / "ds"
    StringsMmap.from_strings(path, ["good", "bad", "good"])
    with (path / "c0.data-1").open("r+b") as file:
        file.seek(5)
        file.write(b"\xff")
    texts = StringsMmap(path)
    message = f"{path}: sample 1: expected UTF-8, found an error at byte 1; the payload is damaged"

    for read in (lambda: texts[1], lambda: list(texts), lambda: texts[:], lambda: texts.take([0, 1])):
        with pytest.raises(CorruptDatasetError, match=message):
            read()

    assert (texts[0], texts[2]) == ("good", "good")
    assert texts.take_jagged([1])[0].tobytes() == b"b\xffd"


def test_bytes_are_not_decoded(tmp_path):
    assert BytesMmap.from_bytes(tmp_path / "ds", [b"\xff\xfe"])[0] == b"\xff\xfe"
