"""The report as one HTML file that needs nothing else: no network, no scripts, pictures and styles inside."""

from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from dicom_node import __version__
from dicom_node.demo.outcome import DemoOutcome
from dicom_node.demo.panels import ZOOM_MM, album_of


def report_html(outcome: DemoOutcome, *, curves_svg: str) -> str:
    """Write the report.

    Parameters
    ----------
    outcome
        What to tell.
    curves_svg
        The growth curves as SVG; a document head before ``<svg`` is dropped.

    Returns
    -------
    str
        A complete HTML document. Text from DICOM headers is escaped.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    environment.filters.update(mm3=_mm3, mm=_mm, mm1=_mm1, signed=_signed, size=_size)
    template = environment.from_string(
        files("dicom_node.demo").joinpath("templates", "report.html.j2").read_text(encoding="utf-8")
    )
    return template.render(
        outcome=outcome,
        results=outcome.results,
        figures=outcome.figures,
        album=album_of(outcome.results),
        curves_svg=curves_svg[curves_svg.index("<svg") :],
        frame_mm=ZOOM_MM,
        version=__version__,
    )


def _mm3(value: float) -> str:
    return f"{value:.1f}" if 0 < value < 10 else f"{value:.0f}"


def _mm(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _mm1(value: float) -> str:
    return f"{value:.1f}"


def _signed(value: float) -> str:
    return f"{value:+.0f}".replace("-", "−")


def _size(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{value:.1f} {unit}"
