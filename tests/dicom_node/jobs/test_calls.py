"""Values that cross a process or a restart come back as they were."""

import json
import math
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest

from dicom_node.jobs.calls import dump_arguments, dump_result, load_arguments, load_result, reference_of, resolve
from tracking.timepoint import MRSequence


@dataclass(frozen=True, kw_only=True)
class Inner:
    day: date
    path: Path
    sequence: MRSequence | None
    points: tuple[tuple[float, float, float], ...]
    by_uid: dict[str, float] = field(default_factory=dict)
    secret: str = field(default="x", repr=False)


def example(inner: Inner, count: int, *rest: Path) -> tuple[Inner, ...]:
    return (inner,) * (count + len(rest))


def no_annotation(x: int):  # type: ignore[no-untyped-def]  # what the test is about
    return x


INNER = Inner(
    day=date(2024, 2, 29),
    path=Path("/data/ä b"),
    sequence=MRSequence.T1C,
    points=((1.5, -0.1, 1e-17),),
    by_uid={"1.2": 1 / 3},
)


def test_arguments_survive_json() -> None:
    arguments = (INNER, 1, Path("a"), Path("b"))
    values = json.loads(json.dumps(dump_arguments(example, arguments)))
    assert load_arguments(example, values) == arguments


def test_result_survives_json() -> None:
    value = json.loads(json.dumps(dump_result(example, example(INNER, 2))))
    assert load_result(example, value) == (INNER, INNER)


def test_numbers_that_are_none_survive() -> None:
    def not_a_number() -> float:
        return math.nan

    assert math.isnan(load_result(not_a_number, json.loads(json.dumps(dump_result(not_a_number, math.nan)))))


def test_function_is_found_by_its_reference() -> None:
    assert resolve(reference_of(reference_of)) is reference_of


def test_function_that_no_other_process_finds_is_refused() -> None:
    with pytest.raises(TypeError, match="top level"):
        reference_of(lambda: None)


def test_result_without_annotation_is_refused() -> None:
    with pytest.raises(TypeError, match="no annotation"):
        dump_result(no_annotation, 1)


def test_wrong_number_of_arguments_is_refused() -> None:
    with pytest.raises(TypeError, match="missing a required argument: 'count'"):
        dump_arguments(example, (INNER,))
