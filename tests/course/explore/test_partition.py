"""Three blocks of a catalogue."""


def test_the_bread_is_that_of_notebook_02(made):
    bread = made["partition"].look_up(0.05, 0.2, 64, 4)
    assert sum(bread.uncut.values()) == 1682 * (64 + 64 + 1)
    assert bread.cut["head"] == 2 * 84 * 64
    assert bread.cut["block 3"] == 2 * 1346 * 4
    assert sum(bread.cut.values()) == 2 * 16_072 + 2 * 64
    assert "6.7 times smaller" in bread.title
