"""Enhanced MR told in the words of classic MR: one plain dataset per frame, so that the rest knows only one form."""

from collections.abc import Iterator

from pydicom.dataset import Dataset

from dicom_node.studies.headers import text

ENHANCED_MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4.1"

# Functional group macro -> attributes that mean in it what they mean in classic MR (PS3.3 C.7.6.16.2, C.8.13.5).
COPIED_FROM_GROUPS = {
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "MRTimingAndRelatedParametersSequence": ("RepetitionTime", "FlipAngle", "EchoTrainLength"),
    "MRDiffusionSequence": ("DiffusionBValue",),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
}
COPIED_FROM_GROUPS_AS = {
    "MREchoSequence": ("EffectiveEchoTime", "EchoTime"),
    "MRModifierSequence": ("InversionTimes", "InversionTime"),
    "MRImageFrameTypeSequence": ("FrameType", "ImageType"),
    "FrameContentSequence": ("TemporalPositionIndex", "TemporalPositionIdentifier"),
}
ECHO_PULSE_SEQUENCES = {"SPIN": ["SE"], "GRADIENT": ["GR"], "BOTH": ["SE", "GR"]}


def is_enhanced(dataset: Dataset) -> bool:
    """Tell whether the instance is an Enhanced MR image, whose frames carry their own attributes."""
    return text(dataset, "SOPClassUID") == ENHANCED_MR_IMAGE_STORAGE


def frame_datasets(dataset: Dataset) -> Iterator[Dataset]:
    """Describe every frame of an instance as a classic MR header.

    A single-frame instance is its own only frame. The datasets are meant to be read, not to be stored: they have
    ScanningSequence, RepetitionTime, EchoTime, ImagePositionPatient and the like at their top level.

    Parameters
    ----------
    dataset
        Header of a classic or an Enhanced MR image (PS3.3 A.36).
    """
    if not is_enhanced(dataset):
        yield dataset
        return
    shared = _first_item(dataset, "SharedFunctionalGroupsSequence")
    base = _base(dataset, shared)
    for item in dataset.get("PerFrameFunctionalGroupsSequence", []):
        frame = Dataset()
        frame.update(base)
        _copy_groups(item, frame)
        yield frame


def _base(dataset: Dataset, shared: Dataset) -> Dataset:
    base = Dataset()
    for element in dataset:
        if element.keyword not in {"SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"}:
            base[element.tag] = element
    base.ScanningSequence = _scanning_sequence(dataset, shared)
    base.SequenceVariant = _sequence_variant(dataset)
    if text(dataset, "TimeOfFlightContrast") == "YES" or text(dataset, "PhaseContrast") == "YES":
        base.AngioFlag = "Y"
    _copy_groups(shared, base)
    return base


def _copy_groups(groups: Dataset, target: Dataset) -> None:
    for macro, keywords in COPIED_FROM_GROUPS.items():
        item = _first_item(groups, macro)
        for keyword in keywords:
            if keyword in item:
                setattr(target, keyword, item[keyword].value)
    for macro, (source, keyword) in COPIED_FROM_GROUPS_AS.items():
        item = _first_item(groups, macro)
        value = item.get(source)
        if value is not None:
            setattr(target, keyword, value[0] if keyword == "InversionTime" and isinstance(value, list) else value)


def _scanning_sequence(dataset: Dataset, shared: Dataset) -> list[str]:
    sequence = list(ECHO_PULSE_SEQUENCES.get(text(dataset, "EchoPulseSequence"), []))
    if text(_first_item(shared, "MRModifierSequence"), "InversionRecovery") == "YES":
        sequence.append("IR")
    if text(dataset, "EchoPlanarPulseSequence") == "YES":
        sequence.append("EP")
    return sequence


def _sequence_variant(dataset: Dataset) -> list[str]:
    variant = []
    if text(dataset, "Spoiling") in {"RF", "RF_AND_GRADIENT"}:
        variant.append("SP")
    if text(dataset, "SteadyStatePulseSequence") not in {"", "NONE"}:
        variant.append("SS")
    return variant


def _first_item(dataset: Dataset, keyword: str) -> Dataset:
    items = dataset.get(keyword)
    return items[0] if items else Dataset()
