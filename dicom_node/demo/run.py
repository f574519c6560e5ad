"""The main job on a patient whose truth is known; it shows what came out, whatever that is."""

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from datetime import date
from pathlib import Path

from rich.console import Console

from dicom_node.demo.followup import compare_patient, figures_of
from dicom_node.demo.outcome import DemoOutcome, JobReport
from dicom_node.demo.outputs import prepare_folder, write_outputs
from dicom_node.demo.phantom import Identity, identity_for, study_uid_of, write_study
from dicom_node.demo.player import RunningNode, running_node
from dicom_node.demo.stages import Stages
from dicom_node.results.findings_reading import read_findings
from inference.synthesis.patient import FULL_EXAMINATION, SyntheticPatient, SyntheticStudy, generate_patient

DATES = (date(2024, 3, 11), date(2024, 6, 10), date(2024, 9, 9))


def run_demo(*, out: Path, seed: int, console: Console) -> DemoOutcome:
    """Generate a patient, let the node follow it, compare with the truth and write the results.

    Parameters
    ----------
    out
        Receives ``archive/``, ``report.html``, ``curves.png``, ``lesions.json`` and ``node/`` (configuration, log and
        data of the node). What an earlier demonstration left there is removed.
    seed
        Which patient.
    console
        Where progress and tables appear.

    Raises
    ------
    DemoError
        When ``out`` holds something else, or the node does not come up or does not finish.
    """
    prepare_folder(out)
    identity = identity_for(seed)
    stages = Stages(console)
    with stages.shown():
        with stages.stage("generating the patient"):
            patient = generate_patient(seed, dates=DATES)
        jobs = _play(patient, identity, out, stages)
        with stages.stage("comparing with the truth"):
            outcome = _compare(patient, identity, jobs, out)
        outcome = replace(outcome, timings_s=dict(stages.seconds))
        with stages.stage("writing the report"):
            write_outputs(outcome, out)
    return outcome


def _play(patient: SyntheticPatient, identity: Identity, out: Path, stages: Stages) -> tuple[JobReport, ...]:
    """Send the studies in order of date, each after the results of the one before are there."""
    with tempfile.TemporaryDirectory() as folder:
        files = {study.study_date: _write(study, identity, Path(folder)) for study in patient.studies}
        with ExitStack() as stack:
            with stages.stage("starting the node"):
                node = stack.enter_context(running_node(out / "node", out / "archive"))
            return tuple(
                _send_and_wait(node, study_uid_of(identity, day), paths, stages, day) for day, paths in files.items()
            )


def _write(study: SyntheticStudy, identity: Identity, folder: Path) -> list[Path]:
    thickness_mm = {sequence: FULL_EXAMINATION.prescription(sequence).slice_mm for sequence in study.images}
    target = folder / study.study_date.isoformat()
    return write_study(study, identity=identity, folder=target, slice_thickness_mm=thickness_mm)


def _send_and_wait(node: RunningNode, study_uid: str, paths: list[Path], stages: Stages, day: date) -> JobReport:
    with stages.stage(f"sending {day}", total=len(paths)) as stage:
        node.send_study(paths, sent=stage.advance)
    with stages.stage(f"analysing {day}", total=1) as stage:
        return node.wait_for(study_uid, len(paths), watch=stage.show_job)


def _compare(patient: SyntheticPatient, identity: Identity, jobs: tuple[JobReport, ...], out: Path) -> DemoOutcome:
    findings = [read_findings(out / "archive", study_uid_of(identity, study.study_date)) for study in patient.studies]
    results = compare_patient(findings, patient)
    return DemoOutcome(
        seed=patient.seed,
        patient_id=identity.patient_id,
        results=results,
        jobs=jobs,
        figures=figures_of(results),
        timings_s={},
    )
