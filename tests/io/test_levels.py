"""Full scale: values survive, and what is doubtful is said together with what to type."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usrnet import io
from usrnet.errors import PictureError, UsrnetError, UsrnetWarning
from usrnet.io.levels import Levels, choose_with_note, full_scale, parse_white

TYPES = [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.float16, np.float32, np.float64]


@pytest.mark.parametrize("dtype", TYPES)
def test_stored_undoes_unit(dtype):
    kind = np.dtype(dtype)
    if kind.kind == "f":
        values = np.linspace(-3, 7, 50).astype(kind)
    else:
        limits = np.iinfo(kind)
        values = np.linspace(max(limits.min, -(2**22)), min(limits.max, 2**22), 50).astype(kind)
    for levels in (full_scale(kind), Levels(float(values.min()), float(values.max())), Levels(0, 100)):
        back = levels.stored(levels.unit(values), kind)
        assert back.dtype == kind
        step = (levels.white - levels.black) * 2.0**-22
        assert np.abs(back.astype(float) - values.astype(float)).max() <= max(step, 0.004 if kind.kind == "f" else 1)


@given(st.sampled_from([np.uint8, np.uint16]), st.integers(1, 65535))
def test_small_numbers_come_back_exactly(dtype, white):
    values = np.arange(0, np.iinfo(dtype).max + 1, 7).astype(dtype)
    levels = Levels(0, white)
    assert np.array_equal(levels.stored(levels.unit(values), np.dtype(dtype)), values)


def test_whole_numbers_are_held_to_their_type():
    levels = Levels(0, 4095)
    assert levels.stored(np.array([-0.1, 0.5, 1.2, 99]), np.dtype(np.uint16)).tolist() == [0, 2048, 4914, 65535]
    assert full_scale(np.dtype(np.int16)).stored(np.array([-2.0, 2.0]), np.dtype(np.int16)).tolist() == [
        -32768,
        32767,
    ]


@pytest.mark.parametrize(
    ("low", "high", "dtype", "white", "levels", "note"),
    [
        (0, 255, "u1", None, (0, 255), None),
        (7, 7, "u2", None, (0, 65535), None),
        (100, 1100, "u2", None, (0, 65535), "1.53% of the range, where a noise level of 1 is 257: --white VALUE"),
        (100, 1100, "u2", 4095.0, (0, 4095), None),
        (100, 1100, "u2", "auto", (100, 1100), "100 to 1100, which is taken as full scale"),
        (100, 60000, "u2", 4095.0, (0, 4095), "far above 4095"),
        (-1000, 15000, "i2", None, (0, 32767), None),
        (0, 65535, "u4", None, (0, 65535), "taken as full scale: --white"),
        (-5, 9, "i4", None, (-5, 9), "taken as full scale: --white"),
        (0, 1, "f4", None, (0, 1), None),
        (-0.2, 1.4, "f4", None, (0, 1), "partly outside 0 to 1, and are kept: --white"),
        (0, 65535, "f4", None, (0, 65535), "not from 0 to 1, and this range is taken"),
        (-500, 300, "f8", None, (-500, 300), "not from 0 to 1, and this range is taken"),
        (0, 65535, "f4", 65535.0, (0, 65535), None),
        (5, 5, "f4", None, (0, 1), "this range is taken as full scale"),
    ],
)
def test_the_rule(low, high, dtype, white, levels, note):
    made, said = choose_with_note(low, high, np.dtype(dtype), white)
    assert (made.black, made.white) == levels
    assert (note is None) == (said is None)
    assert note is None or note in (said or "")


def test_values_that_no_range_holds():
    with pytest.raises(PictureError, match="too far apart for a picture"):
        choose_with_note(-1.4e308, 9e307, np.dtype(float), None)


def test_what_the_file_declares():
    made, said = choose_with_note(0, 2**24 - 1, np.dtype("u4"), None, declared=Levels(0, 2**24 - 1))
    assert (made.white, said) == (2**24 - 1, None)


@pytest.mark.parametrize("text", ["", "much", "0", "-4", "nan", "inf"])
def test_what_is_no_full_scale(text):
    with pytest.raises(UsrnetError, match="give a number above zero, or auto"):
        parse_white(text)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 1), (5, 6, 3), (5, 6, 4)])
@pytest.mark.filterwarnings("ignore:.*full scale")
def test_arrays_of_any_kind_come_back_as_they_were(dtype, order, shape):
    values = np.random.default_rng(0).random(shape)
    kind = np.dtype(dtype)
    array = values.astype(kind) if kind.kind == "f" else (values * np.iinfo(kind).max).astype(kind)
    array = array.astype(kind.newbyteorder(order))
    given = io.from_any(array)
    assert given.pixels.dtype.isnative
    answer = io.to_any(given.pixels, given=given)
    assert answer.dtype == array.dtype
    assert np.array_equal(answer, array)


def test_a_pil_image_of_floats_has_the_same_rules():
    from PIL import Image

    with pytest.warns(UsrnetWarning, match="not from 0 to 1"):
        given = io.from_any(Image.fromarray(np.array([[0, 100], [200, 255]], np.float32)))
    assert given.levels == Levels(0, 255)
    with pytest.raises(UsrnetError, match="not finite"):
        io.from_any(Image.fromarray(np.array([[0, np.nan]], np.float32)))
