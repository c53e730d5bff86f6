"""Variants: keys, groups, and the configurations that they stand for."""

import re
from dataclasses import replace

import pytest

from cprec_lib import count_parameters
from cprec_lib.evidence.settings import SETTINGS, Setting
from cprec_lib.evidence.variants import GROUPS, VARIANTS, choose, label, labelled, models


@pytest.mark.parametrize("setting", [*sum(SETTINGS.values(), ()), Setting(width=24)])
def test_every_name_of_a_group_is_a_model(setting: Setting) -> None:
    configs = models(1000, setting)
    own_width = f"nextitnet-w{setting.width}"
    for members in GROUPS.values():
        keys = {variant.key for variant in members}
        assert keys - {own_width} <= {*configs, "popularity", "bigram"}
    assert own_width not in configs
    trained = [config for config in configs.values()]
    assert len({*trained}) == len(trained), "two names for one model"


def test_every_model_has_the_settings_input_dropout() -> None:
    configs = models(1000, replace(Setting(), input_dropout=0.2))
    assert {config.input_dropout for config in configs.values()} == {0.2}


def test_parts_differ_from_the_baseline_in_one_respect() -> None:
    configs = models(1000, Setting())
    for key, config in configs.items():
        differs = [config.block_input, config.block_softmax, config.sharing != "none"]
        family = VARIANTS[key].family
        if family == "part" and key != "input-and-softmax":
            assert sum(differs) == 1, key
        if family == "nextitnet":
            assert not any(differs), key
        if family == "cprec":
            assert all(differs) and config.tree, key
    assert not configs["flat-softmax"].tree


def test_keys_are_fit_for_file_names_and_labels_tell_variants_apart() -> None:
    assert all(re.fullmatch("[a-z0-9-]+", key) for key in VARIANTS)
    assert len({variant.label for variant in VARIANTS.values()}) == len(VARIANTS)
    of_groups = [variant for members in GROUPS.values() for variant in members]
    assert all(VARIANTS[variant.key] is variant for variant in of_groups), "two variants, one key"


@pytest.mark.parametrize("key", [k for k, v in VARIANTS.items() if v.width or v.depth is not None])
def test_a_variant_fixes_the_width_or_depth_that_it_names(key: str) -> None:
    variant, config = VARIANTS[key], models(1000, Setting(width=9))[key]
    assert config.width == (variant.width or 9)
    assert len(config.dilations) == (4 if variant.depth is None else variant.depth)


def test_other_fillings_differ_in_the_bread_alone() -> None:
    setting = replace(Setting(), max_len=30)
    configs = models(1000, setting)
    for name, whole, middle in (("gru4rec", 49_152, "gru"), ("sasrec", 43_776, "attention")):
        config, compressed = configs[name], configs[f"{name}-compressed"]
        assert config.middle == middle and not config.decomposed
        bread = {"block_input": True, "block_softmax": True, "cutoffs": (100, 330)}
        assert compressed == replace(config, **bread)
        assert compressed.partition == configs["cprec"].partition
        assert count_parameters(config).by_part()["middle"] == whole
    assert configs["sasrec"].max_positions == 30


@pytest.mark.parametrize(
    ("rival", "limit"),
    [("narrower", "cprec"), ("narrower-factor-2", "cprec-factor-2")],
)
def test_a_narrow_rival_is_as_large_as_it_may_be(rival: str, limit: str) -> None:
    configs = models(1000, Setting())
    most = count_parameters(configs[limit]).total
    wider = replace(configs[rival], width=configs[rival].width + 1)
    assert count_parameters(configs[rival]).total <= most < count_parameters(wider).total


@pytest.mark.parametrize(("name", "share"), [("quarter", 4), ("eighth", 8)])
def test_a_smaller_model_is_as_large_as_it_may_be(name: str, share: int) -> None:
    configs = models(5000, Setting())
    whole = count_parameters(configs["nextitnet"]).total
    for family in ("cprec", "nextitnet"):
        config = configs[f"{family}-{name}"]
        wider = replace(config, width=config.width + 1)
        assert count_parameters(config).total <= whole / share < count_parameters(wider).total
    assert configs[f"cprec-{name}"].block_softmax and configs[f"cprec-{name}"].factor == 2


def test_choose() -> None:
    assert choose(["rival"])[:2] == ["nextitnet", "cprec"]
    assert choose([], ["bigram"]) == ["bigram"]
    everything = choose([])
    assert {*everything} == {*VARIANTS}
    assert len(everything) == len({*everything})
    with pytest.raises(ValueError, match="unknown group 'speed'; choose from overall"):
        choose(["speed"])
    with pytest.raises(ValueError, match="unknown model 'CpReq'; choose from nextitnet, cprec, "):
        choose([], ["CpReq"])


def test_what_is_known_by_key_is_shown_by_label() -> None:
    assert label("cprec-cut-5-20") == "CpRec, cut 5 / 20 %"
    assert labelled({"cprec": 1, "narrower": 2}) == {"CpRec": 1, "narrower NextItNet": 2}
    with pytest.raises(KeyError):
        label("CpRec")
