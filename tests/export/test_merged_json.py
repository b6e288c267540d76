"""A document of results: its variations, in order."""

from actkit.export.merged_json import variations


def test_a_result_with_an_empty_list_of_variations_is_its_own_only_one() -> None:
    """It was neither a record nor a rejection."""
    result = {"question_id": "1", "prompt": "q", "variations": []}
    assert list(variations({"results": [result]})) == [(result, result)]
