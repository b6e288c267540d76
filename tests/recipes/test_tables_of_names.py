"""The tables that say what is read agree with one another and with the page about files."""

from actkit.docs import FOLDER
from actkit.pipeline.input.field_names import is_known
from actkit.pipeline.input.formats import FORMATS, HELP, format_of
from actkit.pipeline.input.packed import PACKINGS
from actkit.recipes import documents
from actkit.recipes.contrast_shapes import SHAPES, ContrastShape, shape_of
from actkit.recipes.conversations.prompts import ANSWERS, PROMPTS
from actkit.recipes.feedback import GROUP_FIELDS
from actkit.recipes.labels import LABEL_FIELDS

PAGE = (FOLDER / "files.md").read_text(encoding="utf-8")


def test_the_page_and_the_help_name_every_format_and_packing() -> None:
    for form in FORMATS:
        assert all(suffix in PAGE for suffix in form.suffixes), form.name
        assert form.title in HELP or form.name == "text"
        for suffix in form.suffixes:
            assert format_of(f"a{suffix}") == format_of(f"A{suffix.upper()}.gz") == form.name
    for packing in PACKINGS:
        assert f"`{packing.suffixes[0]}`" in PAGE and packing.suffixes[0] in HELP


def test_the_page_names_the_fields_of_every_contrast_and_each_is_found() -> None:
    for shape in SHAPES:
        names = [name for name in (shape.prompt, shape.positive, shape.negative) if name]
        for name in names:
            assert f"`{name}`" in PAGE or f"…_{name.rpartition('_')[2]}`" in PAGE, name
        capital = {name.title().replace("_", " "): "x" for name in names}
        found = shape_of(capital)
        assert isinstance(found, ContrastShape) and found.form == shape.form and {found.positive} <= set(capital)


def test_a_header_line_with_a_name_that_is_looked_for_is_a_header() -> None:
    looked_for = {*PROMPTS, *ANSWERS, *LABEL_FIELDS, *GROUP_FIELDS, *documents.FIELDS}
    looked_for |= {name for shape in SHAPES for name in (shape.positive, shape.negative, shape.prompt) if name}
    looked_for -= {"pos", "neg"}  # cells of data say so more often than headers do
    assert [name for name in sorted(looked_for) if not is_known(name)] == []
