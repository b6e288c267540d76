"""What `run.json` says, in words."""

from actkit.runs.facts import health_of

ROW = {"sae": "a", "n_tokens": 1, "l0": 23.44, "explained_variance": 0.8714}
ROW |= {"dead_fraction": 0.002, "dense_fraction": 0.0}


def test_health_is_said_of_each_sae_in_the_digits_that_its_width_carries() -> None:
    facts = {
        "saes": [{"name": "a", "d_sae": 4096}, {"name": "b", "d_sae": 64}],
        "health": [
            ROW,
            ROW | {"sae": "b", "n_tokens": 12_000, "explained_variance": -0.25, "dead_fraction": 0.5},
            ROW | {"n_tokens": 2, "explained_variance": None},
            {"sae": "b", "n_tokens": 0},
        ],
    }
    assert [(name, text.replace("\xa0", " ")) for name, text in health_of(facts)] == [
        ("a", "L0 23.4, explained variance 0.871, 0.2 % of features silent, 0 % dense, on 1 token"),
        ("b", "L0 23.4, explained variance −0.250, 50 % of features silent, 0 % dense, on 12,000 tokens"),
        ("a", "L0 23.4, explained variance unknown, 0.2 % of features silent, 0 % dense, on 2 tokens"),
        ("b", "no health: all tokens that were read are special ones or sinks"),
    ]


def test_a_run_without_an_sae_has_none() -> None:
    assert list(health_of({})) == []
