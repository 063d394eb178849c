"""Hosted models over real HTTP: what is asked, what is kept, what is tried again and what is not."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from loopsim import models
from loopsim.catalog import settings_of
from loopsim.errors import BudgetReached, ModelError, RunFailed, UsageError
from loopsim.models.base import Caption, Drawing, RowFailure
from loopsim.models.hosted import client, endpoint
from loopsim.models.hosted.meter import Meter
from loopsim.records import ModelSpec, Price
from tests import hosted_server as served
from tests.hosted_server import KEY, Server

IMAGE_MODEL, CHAT_MODEL = "endpoint:lab/painter", "endpoint:lab/talker"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with served.running(monkeypatch) as running:
        yield running


def generator(batch_size: int | None = 2, price: Price | None = None, model: str = IMAGE_MODEL, **given: Any) -> Any:
    settings = settings_of("generator", model, given)
    return models.load_generator(ModelSpec("generator", model, MappingProxyType(settings), batch_size, price), "cpu")


def captioner(batch_size: int | None = 2, price: Price | None = None, model: str = CHAT_MODEL, **given: Any) -> Any:
    settings = settings_of("captioner", model, given)
    return models.load_captioner(ModelSpec("captioner", model, MappingProxyType(settings), batch_size, price), "cpu")


def grey(level: int) -> np.ndarray:
    return np.full((8, 8, 3), level, dtype=np.uint8)


# ---- what is asked, and what comes back ------------------------------------------------------------------------------


def test_a_picture_is_asked_for_and_decoded(server: Server):
    (drawing,) = generator(size="48x32").generate(["a red boat"], [2**63 + 5])
    assert isinstance(drawing, Drawing)
    assert drawing.pixels.shape == (32, 48, 3)
    assert drawing.pixels.dtype == np.uint8
    path, asked, headers, _ = server.requests[0]
    assert path == "/v1/images/generations"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert asked == {
        "model": "painter", "prompt": "a red boat", "n": 1, "size": "48x32", "seed": 5, "response_format": "b64_json",
    }  # fmt: skip
    assert drawing.details == {
        "revised_prompt": "A detailed picture: a red boat", "tokens_in": 3, "tokens_out": 100, "request_id": "req_1",
        "seed": 5,
    }  # fmt: skip


def test_a_picture_behind_an_address_is_fetched_without_the_key(server: Server):
    (plain,) = generator().generate(["a red boat"], [1])
    server.by_url = True
    (fetched,) = generator().generate(["a red boat"], [1])
    assert np.array_equal(plain.pixels, fetched.pixels)
    ((path, headers),) = server.fetched
    assert path.startswith("/files/")
    assert "authorization" not in headers


def test_a_caption_is_asked_for_with_the_very_pixels(server: Server):
    (caption,) = captioner(temperature=0.5, instruction="What is it?").describe([grey(77)], [2**40 + 9])
    assert isinstance(caption, Caption)
    assert (caption.text, caption.tokens, caption.truncated, caption.chunk) == (
        "a picture of brightness 77",
        5,
        False,
        1,
    )
    assert caption.details == {
        "model": "served-2026-11-01", "fingerprint": "fp_44709d6fcb", "request_id": "req_1", "tokens_in": 20,
        "tokens_out": 5, "seed": 9,
    }  # fmt: skip
    path, asked, _, _ = server.requests[0]
    assert path == "/v1/chat/completions"
    (message,) = asked.pop("messages")
    assert asked == {"model": "talker", "max_tokens": 128, "temperature": 0.5, "seed": 9}
    assert message["content"][0] == {"type": "text", "text": "What is it?"}


def test_further_fields_go_into_the_request_and_null_takes_one_out(server: Server):
    request = json.dumps({"quality": "low", "seed": None, "response_format": None})
    generator(request=request).generate(["a boat"], [1])
    assert server.requests[0][1] == {"model": "painter", "prompt": "a boat", "n": 1, "quality": "low"}


def test_openai_gets_what_openai_takes(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url + "/")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    generator(model="openai:gpt-image-2").generate(["a boat"], [1])
    captioner(model="openai:gpt-4o-mini").describe([grey(1)], [1])
    assert server.requests[0][1] == {"model": "gpt-image-2", "prompt": "a boat", "n": 1}
    assert {k: v for k, v in server.requests[1][1].items() if k != "messages"} == {
        "model": "gpt-4o-mini", "max_completion_tokens": 128, "temperature": 0.0, "seed": 1,
    }  # fmt: skip


@pytest.mark.parametrize(("service", "variable"), [("anthropic", "ANTHROPIC_API_KEY"), ("google", "GEMINI_API_KEY")])
def test_other_services_get_no_seed(server: Server, monkeypatch: pytest.MonkeyPatch, service: str, variable: str):
    monkeypatch.setenv(f"LOOPSIM_BASE_URL_{service.upper()}", server.base_url)
    monkeypatch.setenv(variable, KEY)
    captioner(model=f"{service}:some-model").describe([grey(1)], [1])
    assert "seed" not in server.requests[0][1]
    assert server.requests[0][1]["max_tokens"] == 128


def test_rows_are_asked_side_by_side_up_to_batch_size_and_come_back_in_order(server: Server):
    # Who asks first is answered last, and the next two when all three have asked.
    server.faults.extend([served.once_there_are(8), *[served.once_there_are(3)] * 2])
    captions = captioner(batch_size=3).describe([grey(level) for level in range(8)], list(range(8)))
    assert [caption.text for caption in captions] == [f"a picture of brightness {level}" for level in range(8)]
    assert server.most_at_once == 3


def test_a_caption_that_was_cut_is_marked(server: Server):
    server.faults.append(served.chat({"content": "a picture of"}, "length"))
    assert captioner().describe([grey(0)], [1])[0].truncated


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, ""),
        ("", ""),
        (" a \n b ", "a b"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "a b"),
    ],
)
def test_the_shapes_of_an_answers_content(server: Server, content: object, text: str):
    server.faults.append(served.chat({"content": content}))
    assert captioner().describe([grey(0)], [1])[0].text == text


# ---- what is tried again ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        served.status(500), served.status(503), served.status(529), served.status(408), served.truncated,
        served.hang_up, served.body("{not json"), served.body("[]"), served.body('{"data": 3}'),
        served.body('{"data": [{"b64_json": "@@@"}]}'),
        served.body(json.dumps({"data": [{"b64_json": base64.b64encode(b"no picture").decode()}]})),
        served.body('{"error": {"message": "overloaded"}}'),
    ],
    ids=["500", "503", "529", "408", "truncated", "hang up", "half JSON", "a list", "no list", "no base64",
         "no picture", "an error under 200"],
)  # fmt: skip
def test_a_fault_that_may_pass_is_tried_again(server: Server, fault: served.Fault):
    server.faults.append(fault)
    (drawing,) = generator().generate(["a boat"], [1])
    assert isinstance(drawing, Drawing)
    assert drawing.details is not None
    assert drawing.details["attempts"] == 2


def test_a_service_that_says_nothing_is_asked_again(server: Server, monkeypatch: pytest.MonkeyPatch):
    short = replace(client.patience(), timeout=0.5)
    monkeypatch.setattr(client, "patience", lambda: short)
    model = generator()
    # The second request is given more time: a busy machine is no silent service.
    asked = model.client._http
    asked.event_hooks = {"request": [lambda _: setattr(asked, "timeout", 60.0)]}
    server.faults.append(served.once_there_are(2))
    (drawing,) = model.generate(["a boat"], [1])
    assert isinstance(drawing, Drawing)
    assert drawing.details is not None
    assert drawing.details["attempts"] == 2


def test_retry_after_is_waited_for(server: Server):
    server.faults.append(served.status(429, retry_after="0.6"))
    generator().generate(["a boat"], [1])
    first, second = (at for _, _, _, at in server.requests)
    assert second - first >= 0.6


def test_a_wait_that_is_too_long_ends_the_run_at_once(server: Server):
    server.faults.append(served.status(429, retry_after="3600"))
    with pytest.raises(RunFailed, match="asks to wait 3600 s"):
        generator().generate(["a boat"], [1])
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("0.5", 0.5), ("Wed, 21 Oct 2026 07:28:00 GMT", 60.0), ("Wed, 21 Oct 2025 07:28:00 GMT", 0.0),
     ("-3", 0.0), ("soon", None), ("nan", None), ("inf", None), ("", None), (None, None)],
)  # fmt: skip
def test_retry_after_is_read_as_seconds_or_as_a_date(header: str | None, seconds: float | None):
    now = 1792567680.0 - 60.0  # a minute before 2026-10-21T07:28:00Z
    assert client.retry_after(header, now) == seconds


def test_the_waits_double_up_to_a_limit():
    wait = client.Patience(first_wait=1.0, longest_wait=60.0)
    assert [wait.before(attempt, 0.0) for attempt in range(2, 10)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert wait.before(4, 1.0) == 2.0


def test_attempts_are_bounded_and_an_outage_is_nobodys_failure(server: Server):
    server.faults.extend([served.status(500, "melting")] * 20)
    with pytest.raises(RunFailed, match=r"no answer for 2 of 2 .*500.*melting.*4 attempts"):
        generator(batch_size=1).generate(["a boat", "a house"], [1, 2])
    assert len(server.requests) == 8


def test_one_row_that_always_fails_fails_alone(server: Server):
    def on_boats(handler: served.Handler) -> bool:
        if "boat" not in handler.body["prompt"]:
            return False
        handler.error(500, "no boats", "error")
        return True

    server.faults.extend([on_boats] * 20)
    boat, house = generator().generate(["a boat", "a house"], [1, 2])
    assert isinstance(house, Drawing)
    assert isinstance(boat, RowFailure)
    assert not boat.refused
    assert boat.message.startswith("unanswered: it answered 500: error: invalid_request_error: no boats")


def test_a_rate_limit_that_does_not_let_up_ends_the_run_though_others_were_served(server: Server):
    def on_boats(handler: served.Handler) -> bool:
        if "boat" not in handler.body["prompt"]:
            return False
        handler.error(429, "slow down", "rate_limit_exceeded")
        return True

    server.faults.extend([on_boats] * 20)
    with pytest.raises(RunFailed, match="no answer for 1 of 2 requests"):
        generator(batch_size=1).generate(["a house", "a boat"], [1, 2])


def test_an_address_where_nobody_answers(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LOOPSIM_BASE_URL_LAB", "http://127.0.0.1:9/v1")
    with pytest.raises(RunFailed, match="ConnectError"):
        generator().generate(["a boat"], [1])


def test_the_timeout_is_a_matter_of_the_environment(monkeypatch: pytest.MonkeyPatch):
    assert client.patience().timeout == 300
    monkeypatch.setenv("LOOPSIM_TIMEOUT", "12.5")
    assert client.patience().timeout == 12.5
    for wrong in ("0", "-1", "nan", "inf", "soon"):
        monkeypatch.setenv("LOOPSIM_TIMEOUT", wrong)
        with pytest.raises(UsageError, match="LOOPSIM_TIMEOUT must be a number of seconds above 0"):
            client.patience()


# ---- what is not tried again -----------------------------------------------------------------------------------------


def test_a_refused_prompt_is_asked_for_once_and_harms_no_other(server: Server):
    server.forbidden = ("boat",)
    boat, house = generator().generate(["a boat", "a house"], [1, 2])
    assert isinstance(house, Drawing)
    assert boat == RowFailure(
        "refused: content_policy_violation: invalid_request_error: Your request was rejected by the safety system.",
        refused=True,
    )
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "fault",
    [
        served.status(400, "moderation_blocked"), served.status(403, "violates our content policy"),
        served.status(422, "ResponsibleAIPolicyViolation"), served.body('{"data": []}'), served.body('{"data": [{}]}'),
    ],
    ids=["400", "403", "422", "no pictures", "an empty picture"],
)  # fmt: skip
def test_the_ways_services_refuse_a_picture(server: Server, fault: served.Fault):
    server.faults.append(fault)
    (row,) = generator().generate(["a boat"], [1])
    assert isinstance(row, RowFailure)
    assert row.refused
    assert row.message.startswith("refused: ")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "fault",
    [
        served.chat({"content": None, "refusal": "I can't help with that."}),
        served.chat({"content": "a pic"}, "content_filter"),
        served.status(400, "The response was filtered due to the prompt triggering content management policy"),
    ],
    ids=["refusal", "content_filter", "400"],
)
def test_the_ways_services_refuse_to_describe(server: Server, fault: served.Fault):
    server.faults.append(fault)
    (row,) = captioner().describe([grey(0)], [1])
    assert isinstance(row, RowFailure)
    assert row.refused
    assert len(server.requests) == 1


def test_words_that_sound_like_a_refusal_are_a_caption(server: Server):
    server.faults.append(served.chat({"content": "I'm sorry, I can't help with that."}))
    assert captioner().describe([grey(0)], [1])[0].text == "I'm sorry, I can't help with that."


def test_a_wrong_key_ends_the_run_at_once(server: Server):
    server.key = "another"
    with pytest.raises(ModelError, match="answered 401: the key in LOOPSIM_API_KEY_LAB is refused") as caught:
        generator(batch_size=1).generate(["a boat", "a house"], [1, 2])
    assert KEY not in str(caught.value)
    assert len(server.requests) == 1


def test_a_missing_key_is_named_as_such(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("LOOPSIM_API_KEY_LAB")
    with pytest.raises(ModelError, match="LOOPSIM_API_KEY_LAB is not set, and the service wants one"):
        generator().generate(["a boat"], [1])


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (served.status(404, "The model `painter` does not exist"), ModelError, "it has no model 'painter' there"),
        (served.status(403, "country not supported"), ModelError, "403, access denied: .*country not supported"),
        (served.status(402, "pay"), RunFailed, "nothing left to spend"),
        (served.status(429, "insufficient_quota: check your plan"), RunFailed, "nothing left to spend"),
        (
            served.status(400, "Unknown parameter: 'seed'"),
            ModelError,
            r"Unknown parameter: 'seed'.*\n.*request: {FIELD",
        ),
        (served.status(422, "Unexpected fields"), ModelError, "does not take what is asked of painter"),
        (served.status(302, "elsewhere", location="http://127.0.0.1:9/"), ModelError, "302"),
    ],
    ids=["404", "403", "402", "quota", "400", "422", "redirect"],
)
def test_errors_that_no_waiting_mends(server: Server, fault: served.Fault, error: type[Exception], words: str):
    server.faults.append(fault)
    with pytest.raises(error, match=words):
        generator().generate(["a boat"], [1])
    assert len(server.requests) == 1


def test_a_picture_whose_address_is_dead_or_strange(server: Server):
    server.faults.extend([served.body(json.dumps({"data": [{"url": f"{server.address}/files/nope"}]}))])
    with pytest.raises(RunFailed, match="the picture's own address answered 404"):
        generator().generate(["a boat"], [1])
    server.faults.append(served.body('{"data": [{"url": "file:///etc/passwd"}]}'))
    with pytest.raises(RunFailed, match="an address of a picture that is not http"):
        generator().generate(["a boat"], [1])


# ---- the key ---------------------------------------------------------------------------------------------------------


def test_the_key_is_blotted_out_wherever_the_service_repeats_it(server: Server):
    echo = {
        "data": [{"b64_json": base64.b64encode(served.picture("x", (8, 8))).decode(), "revised_prompt": f"a {KEY}"}]
    }
    server.faults.append(served.body(json.dumps(echo)))
    (drawing,) = generator().generate(["a boat"], [1])
    assert drawing.details["revised_prompt"] == "a [LOOPSIM_API_KEY_LAB]"
    server.faults.append(served.chat({"content": f"the words {KEY} on a wall"}))
    assert captioner().describe([grey(0)], [1])[0].text == "the words [LOOPSIM_API_KEY_LAB] on a wall"
    for fault in (served.status(400, f"bad {KEY}"), served.status(403, f"bad {KEY}"), served.body(f"<{KEY}>")):
        server.faults.extend([fault] * 4)
        with pytest.raises((ModelError, RunFailed)) as caught:
            generator().generate(["a boat"], [1])
        assert KEY not in str(caught.value)
        server.faults.clear()


def test_a_key_is_not_in_what_describes_its_model(server: Server):
    model = generator()
    assert KEY not in repr(model.endpoint) + repr(model.describe_settings()) + repr(model.client)


def test_a_placeholder_is_no_secret_and_stays_in_captions():
    where = endpoint.endpoint_of(
        "endpoint:lab/x", {"LOOPSIM_BASE_URL_LAB": "http://localhost/v1", "LOOPSIM_API_KEY_LAB": "EMPTY"}
    )
    assert where.scrubbed("AN EMPTY ROOM") == "AN EMPTY ROOM"


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "umläut", "nul\0"])
def test_what_cannot_be_a_key_is_refused_without_being_repeated(key: str):
    with pytest.raises(ModelError, match="OPENAI_API_KEY holds a space") as caught:
        endpoint.endpoint_of("openai:gpt-4o", {"OPENAI_API_KEY": key})
    assert key not in str(caught.value)


def test_a_line_break_after_the_key_is_forgiven():
    assert endpoint.endpoint_of("openai:gpt-4o", {"OPENAI_API_KEY": f"{KEY}\n"}).key == KEY


# ---- where it is -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "environment", "url", "model"),
    [
        ("openai:gpt-4o", {"OPENAI_API_KEY": KEY}, "https://api.openai.com/v1", "gpt-4o"),
        ("openai:m", {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://h/v1/"}, "http://h/v1", "m"),
        ("anthropic:m", {"ANTHROPIC_API_KEY": KEY}, "https://api.anthropic.com/v1", "m"),
        ("google:m", {"GEMINI_API_KEY": KEY}, "https://generativelanguage.googleapis.com/v1beta/openai", "m"),
        ("google:m", {"GOOGLE_API_KEY": KEY}, "https://generativelanguage.googleapis.com/v1beta/openai", "m"),
        ("endpoint:my-lab/a/b:c", {"LOOPSIM_BASE_URL_MY_LAB": "http://localhost:1"}, "http://localhost:1", "a/b:c"),
    ],
)
def test_where_a_model_is(name: str, environment: dict[str, str], url: str, model: str):
    where = endpoint.endpoint_of(name, environment)
    assert (where.base_url, where.model) == (url, model)
    assert endpoint.address_of(name, environment) == url


def test_loopsims_own_variables_go_first():
    where = endpoint.endpoint_of("openai:m", {
        "OPENAI_API_KEY": "sk-other-000000", "LOOPSIM_API_KEY_OPENAI": KEY,
        "OPENAI_BASE_URL": "http://a/v1", "LOOPSIM_BASE_URL_OPENAI": "http://b/v1",
    })  # fmt: skip
    assert (where.base_url, where.key, where.key_variable) == ("http://b/v1", KEY, "LOOPSIM_API_KEY_OPENAI")


@pytest.mark.parametrize(
    ("name", "environment", "words"),
    [
        ("openai:gpt-4o", {}, "no key: set the environment variable OPENAI_API_KEY"),
        ("endpoint:lab/m", {}, "where is it.*LOOPSIM_BASE_URL_LAB=http://localhost:8000/v1"),
        ("endpoint:lab/m", {"LOOPSIM_BASE_URL_LAB": "localhost:8000"}, "must be an address such as https://host/v1"),
        ("endpoint:lab/m", {"LOOPSIM_BASE_URL_LAB": "ftp://h/v1"}, "must be an address"),
        ("endpoint:lab/m", {"LOOPSIM_BASE_URL_LAB": "http://[::1/v1"}, "must be an address"),
        ("endpoint:lab/m", {"LOOPSIM_BASE_URL_LAB": "http://h/v1?key=secret"}, "with nothing after the path"),
        ("endpoint:lab/m", {"LOOPSIM_BASE_URL_LAB": "http://me:secret@h/v1"}, "holds a password"),
    ],
)
def test_what_is_missing_or_wrong_is_said(name: str, environment: dict[str, str], words: str):
    with pytest.raises(ModelError, match=words) as caught:
        endpoint.endpoint_of(name, environment)
    assert "secret" not in str(caught.value)


# ---- cost ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "tokens_in", "tokens_out", "cost"),
    [
        (Price(image=0.04), None, None, 0.04),
        (Price(input=2.0, output=8.0), 1000, 500, 0.006),
        (Price(image=0.01, input=2.0), 1000, None, 0.012),
        (Price(input=2.0, output=8.0), 1000, None, None),
        (Price(image=0.0), None, None, 0.0),
        (Price(), 10, 10, None),
    ],
)
def test_what_a_call_costs(price: Price, tokens_in: int | None, tokens_out: int | None, cost: float | None):
    found = price.cost(1, tokens_in, tokens_out)
    assert found == (None if cost is None else pytest.approx(cost, abs=1e-12))


def test_the_cost_is_kept_and_counted(server: Server):
    model = generator(price=Price(input=5.0, output=30.0))
    (drawing,) = model.generate(["a red boat"], [1])
    assert drawing.details["cost"] == pytest.approx(3 * 5e-6 + 100 * 30e-6)
    assert model.meter.spent == pytest.approx(drawing.details["cost"])


def test_a_refused_caption_costs_too(server: Server):
    server.faults.append(served.chat({"content": None, "refusal": "No."}))
    model = captioner(price=Price(input=1.0, output=1.0))
    model.describe([grey(0)], [1])
    assert model.meter.spent == pytest.approx(25e-6)


def test_no_call_is_made_that_the_limit_does_not_allow(server: Server):
    model = generator(price=Price(image=0.04))
    model.meter = Meter(limit=0.10)
    assert len(model.generate(["a", "b"], [1, 2])) == 2
    with pytest.raises(BudgetReached, match=r"--max-cost 0.1 reached: \$0.0800 is spent.*about \$0.0400"):
        model.generate(["c"], [3])
    assert len(server.requests) == 2


def test_a_half_step_that_cannot_be_paid_whole_is_not_begun(server: Server):
    model = generator(price=Price(image=0.04))
    model.meter = Meter(limit=0.10)
    with pytest.raises(BudgetReached, match=r"about \$0.1200"):
        model.generate(["a", "b", "c"], [1, 2, 3])
    assert server.requests == []


def test_a_generator_leaves_enough_for_the_captions():
    meter = Meter(limit=1.0)
    meter.book("captioner", 0.2)
    meter.begin("generator", 3, 0.05)
    with pytest.raises(BudgetReached):
        meter.begin("generator", 4, 0.05)
    meter.begin("captioner", 4)


def test_a_limit_that_cannot_be_kept_is_said(server: Server):
    server.faults.append(served.body('{"choices": [{"message": {"content": "x"}}]}'))
    model = captioner(price=Price(input=1.0, output=1.0))
    model.meter = Meter(limit=1.0)
    with pytest.raises(RunFailed, match="the service did not say how many tokens"):
        model.describe([grey(0)], [1])


def test_a_limit_of_nothing_allows_nothing():
    with pytest.raises(BudgetReached):
        Meter(limit=0.0).begin("generator", 1, 0.0)
