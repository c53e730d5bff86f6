"""Who shares with whom."""

import pytest

from cprec_lib import SHARING
from cprec_lib.model.sharing import distinct_convolutions


@pytest.mark.parametrize("scheme", SHARING)
@pytest.mark.parametrize("blocks", [1, 5, 8])
def test_picture_and_words_count_the_same_convolutions(made, scheme: str, blocks: int):
    one = made["sharing"]
    state = one.look_up(scheme, blocks)
    stored = distinct_convolutions(scheme, blocks)
    [axes] = one.draw([state]).axes
    assert axes.get_title().endswith(f"{2 * blocks} applied, {stored} stored")
    assert len({text.get_text() for text in axes.texts}) == stored
    assert f"{2 * blocks} places use {stored} convolution" in one.say(state)
