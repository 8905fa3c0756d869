from step3vl.pipelines.core.steps import rng_for


def test_random_numbers_depend_on_the_names_alone() -> None:
    assert rng_for(1, "step", "a").random() == rng_for(1, "step", "a").random()
    assert len({rng_for(*names).random() for names in [(1, "a"), (2, "a"), (1, "b"), (1, "a", ""), ("1a",)]}) == 5
