"""The command ``dicom-node``.

Design rule: what goes wrong ends in one sentence on stderr and exit status 1; a traceback is for the log. Options given
here become environment variables, so that every process and step that reads the configuration sees the same one.
"""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dicom_node.config import (
    CONFIGURATION_VARIABLE,
    Configuration,
    as_toml,
    load_configuration,
    variable_of,
)
from dicom_node.demo.command import demo
from dicom_node.errors import NodeError
from dicom_node.evaluation import evaluate_command
from dicom_node.packages import require_own_packages

ConfigOption = Annotated[
    Path | None, typer.Option("--config", envvar=CONFIGURATION_VARIABLE, help="TOML file with the options.")
]
DataDirOption = Annotated[  # A text, since an empty one would become the path of the working folder.
    str | None, typer.Option(metavar="DIRECTORY", help="Folder of all that the node keeps (node.data_dir).")
]

application = typer.Typer(
    name="dicom-node",
    help="A DICOM node that segments brain metastases in MRI studies and follows each of them through time.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@application.command()
def serve(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    port: Annotated[int | None, typer.Option(help="TCP port to listen on (node.port).")] = None,
    ae_title: Annotated[str | None, typer.Option(help="Application Entity title (node.ae_title).")] = None,
    quiet_time_s: Annotated[
        float | None, typer.Option(help="A study is complete after so many seconds of quiet (node.quiet_time_s).")
    ] = None,
) -> None:
    """Receive studies, analyse them and write SEG and SR back, until stopped."""
    from dicom_node.serve import serve as run  # late, like all below: `--help` and `jobs` must answer at once

    run(_configuration(config, data_dir=data_dir, port=port, ae_title=ae_title, quiet_time_s=quiet_time_s), config)


@application.command()
def process(
    folders: Annotated[list[Path], typer.Argument(exists=True, help="Folders (or files) of one or more studies.")],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Run the same analysis on DICOM files on disk; results go to the configured archive."""
    configuration = _configuration(config, data_dir=data_dir)
    require_own_packages()
    from dicom_node.log import set_up_logging
    from dicom_node.process import process_folders

    set_up_logging(level="WARNING", file=configuration.log_folder / "process.log")
    process_folders(folders, configuration, config)


@application.command()
def jobs(
    name: Annotated[str | None, typer.Argument(metavar="[ID]", help="Job ID, its beginning, or a study UID.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """List all jobs with state, step, progress and reason, or print one of them in full."""
    from dicom_node.jobs.display import jobs_overview, print_job
    from dicom_node.jobs.listing import find_job, list_jobs

    configuration = _configuration(config, data_dir=data_dir)
    entries = list_jobs(
        table=configuration.jobs_folder / "jobs.sqlite",
        quarantine_folder=configuration.quarantine_folder,
        notices_folder=configuration.notices_folder,
    )
    chosen = entries if name is None else find_job(entries, name)
    if as_json:
        typer.echo(json.dumps(chosen, indent=2))
    elif not isinstance(chosen, list):
        print_job(chosen, Console())
    elif chosen:
        Console().print(jobs_overview(chosen))
    else:
        typer.echo(
            f"No jobs in {configuration.node.data_dir} yet: send a study, or see `dicom-node check`. "
            "If the node keeps its files elsewhere, name its --data-dir or --config."
        )


@application.command()
def check(config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Try everything that the node needs, and say for each problem what to do."""
    from dicom_node.check import run_checks
    from dicom_node.log import set_up_logging

    configuration = _configuration(config, data_dir=data_dir)
    set_up_logging(level="CRITICAL")
    table = Table("what", "", "finding")
    findings = list(run_checks(configuration))
    styles = {"ok": "green", "note": "yellow", "problem": "bold red"}
    for finding in findings:
        table.add_row(finding.subject, Text(finding.verdict, style=styles[finding.verdict]), Text(finding.message))
    Console().print(table)
    if any(finding.verdict == "problem" for finding in findings):
        raise typer.Exit(1)


@application.command()
def config(config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Print the effective configuration as TOML, with a comment for every option."""
    typer.echo(as_toml(_configuration(config, data_dir=data_dir)), nl=False)


application.command()(demo)
application.command("evaluate")(evaluate_command)


def app() -> None:
    """Run the command; the entry point of the installed script."""
    try:
        application()
    except NodeError as error:
        Console(stderr=True, soft_wrap=True).print(Text(str(error)))
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the edge of the program
        from dicom_node.log import describe_exception

        logging.getLogger(__name__).critical("%s", describe_exception(error))
        Console(stderr=True, soft_wrap=True).print(Text(f"Stopped by an unexpected {type(error).__name__}."))
        sys.exit(1)


def _configuration(path: Path | None, **options: object) -> Configuration:
    """Load the configuration with the options of section ``node`` that were given on the command line."""
    given = {f"node.{name}": str(value) for name, value in options.items() if value is not None}
    os.environ.update({variable_of(option): value for option, value in given.items()})
    return load_configuration(path, given_as={option: _flag_of(option) for option in given})


def _flag_of(option: str) -> str:
    return "--" + option.rpartition(".")[2].replace("_", "-")


if __name__ == "__main__":
    app()
