"""What the server answers, without HTTP."""

import asyncio
from pathlib import Path

import pytest

from cprec_lib.export.folder import export_model
from cprec_lib.serve import items
from cprec_lib.serve.service import By, Refusal, Service
from tests.serve.conftest import Exported
from tests.serve.exported import CONFIGS, ORIGINALS, TITLES, build


def originals(answer: dict) -> list[str]:
    return [item["item"] for item in answer["items"]]


def ask(service: Service, *history: str, by: By = "id", k: int = 5) -> dict:
    return service.recommend(history, by, k, True, "first")


@pytest.fixture
def service(exported: Exported) -> Service:
    return Service(exported("cross-block")[0], compare=exported("sasrec")[0])


def test_ids_and_titles_name_the_same_items(service: Service, exported: Exported):
    by_id = service.recommend([ORIGINALS[4], ORIGINALS[9]], "id", 5, True, "first")
    by_title = service.recommend([TITLES[4], TITLES[9]], "title", 5, True, "first")
    _, items = exported("cross-block")[1].recommend([[5, 10]], 5, exclude_seen=True)
    assert originals(by_id) == originals(by_title) == [ORIGINALS[i - 1] for i in items[0]]
    assert by_id["items"][0]["title"] == TITLES[int(items[0, 0]) - 1]
    assert (by_id["model"], by_id["bytes"]) == ("cross-block", service.model.bytes)


def test_the_second_model_answers_beside_the_first(service: Service, exported: Exported):
    answer = service.recommend([ORIGINALS[4]], "id", 5, False, "second")
    _, items = exported("sasrec")[1].recommend([[5]], 5)
    assert (answer["model"], originals(answer)) == ("sasrec", [ORIGINALS[i - 1] for i in items[0]])


def test_a_user_gets_what_his_history_gets(service: Service):
    for item in (3, 8, 5):
        known = service.observe("ann", ORIGINALS[item], "id")
    assert known == {"user": "ann", "events": 3}
    history = [ORIGINALS[item] for item in (3, 8, 5)]
    asked = service.recommend(history, "id", 6, True, "first")
    assert originals(service.recommend_to("ann", 6, True)) == originals(asked)


def test_items_are_found_by_a_part_of_their_titles(service: Service):
    found = asyncio.run(service.items("NUMBER 1", 3, "first"))["items"]
    assert found == [{"item": ORIGINALS[i], "title": TITLES[i]} for i in (1, 10, 11)]


def test_a_search_without_a_hit_lets_others_be_served(
    service: Service, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(items, "AT_ONCE", 10)
    served = 0

    async def serve_others() -> None:
        nonlocal served
        while True:
            served += 1
            await asyncio.sleep(0)

    async def search() -> dict:
        others = asyncio.create_task(serve_others())
        found = await service.items("no such title", 3, "first")
        others.cancel()
        return found

    assert asyncio.run(search()) == {"items": []}
    assert served == len(TITLES) / 10


@pytest.mark.parametrize(
    ("call", "status", "field", "message"),
    [
        (lambda s: ask(s, "1000", "10005"), 422, "history[1]", "nearest are: 1005"),
        (lambda s: ask(s, "1000", by="title"), 422, "history[0]", "looked up by title"),
        (lambda s: ask(s, "1000", k=60), 422, "k", "59 items left"),
        (lambda s: s.observe("ann", "7", "id"), 422, "item", "no item is called '7'"),
        (lambda s: s.recommend_to("bob", 5, True), 404, "user", "POST /events sends one"),
    ],
)
def test_a_refusal_names_the_field_and_the_way_out(call, status, field, message, service):
    with pytest.raises(Refusal) as caught:
        call(service)
    assert (caught.value.status, caught.value.field) == (status, field)
    assert message in caught.value.message


def test_a_model_without_titles_says_that_it_takes_ids(tmp_path: Path):
    export_model(build(CONFIGS["nextitnet"]), tmp_path, ORIGINALS)
    service = Service(tmp_path)
    by_title = ask(service, ORIGINALS[3], by="title")
    assert originals(by_title) == originals(ask(service, ORIGINALS[3]))
    with pytest.raises(Refusal, match="the model has no titles: give ids"):
        ask(service, TITLES[3], by="title")


def test_what_a_model_lacks_is_refused(exported: Exported, tmp_path: Path):
    service = Service(exported("sasrec")[0])
    with pytest.raises(Refusal, match="cannot follow users; POST /recommend"):
        service.observe("ann", ORIGINALS[0], "id")
    with pytest.raises(Refusal, match="start the server with --compare"):
        asyncio.run(service.items("", 5, "second"))
    with pytest.raises(ValueError, match="cannot follow users, so it cannot serve a file"):
        Service(exported("sasrec")[0], events=tmp_path / "events.jsonl")


def test_a_new_model_keeps_the_users(exported: Exported, tmp_path: Path):
    service = Service(exported("cross-block")[0], events=tmp_path / "events.jsonl")
    service.observe("ann", ORIGINALS[3], "id")
    prepared = service.prepare(exported("gru4rec")[0])
    service.observe("ann", ORIGINALS[8], "id")  # between reading and swapping
    service.swap(*prepared)
    with pytest.raises(ValueError, match="name a model with a CNN or a GRU"):
        service.prepare(exported("sasrec")[0])  # its users would be lost
    history = [ORIGINALS[3], ORIGINALS[8]]
    asked = service.recommend(history, "id", 5, True, "first")
    assert asked["model"] == "gru4rec"
    assert originals(service.recommend_to("ann", 5, True)) == originals(asked)
    service.close()
