from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from portal.lib.charts import StackedBars, stacked_bars

DOLLAR = 1_000_000_000


def chart(*amounts: dict[str, int]) -> StackedBars:
    return stacked_bars("Daily spend", [(f"Nov {i}", row) for i, row in enumerate(amounts, 1)])


def test_stacks_the_series_from_the_base_to_the_sum():
    drawn = chart({"Instances": 3 * DOLLAR, "Models": DOLLAR})

    lower, upper = drawn.bars[0].segments
    assert (lower.hue, upper.hue) == (1, 2)
    assert Decimal(lower.y) + Decimal(lower.height) == Decimal(drawn.base)
    assert Decimal(upper.y) + Decimal(upper.height) == Decimal(lower.y)
    assert Decimal(upper.y) == Decimal(drawn.top)


def test_names_every_bar_with_its_exact_total():
    assert chart({"Instances": 3 * DOLLAR, "Models": 250_000_000}).bars[0].title == "Nov 1: $3.25"


def test_orders_the_series_by_their_totals():
    drawn = chart({"Models": DOLLAR}, {"Instances": 5 * DOLLAR, "Models": DOLLAR})

    assert [(series.name, series.total) for series in drawn.series] == [("Instances", "$5.00"), ("Models", "$2.00")]


def test_counts_a_correction_in_the_table_and_does_not_draw_it():
    drawn = chart({"Instances": 2 * DOLLAR, "Models": -DOLLAR})

    assert len(drawn.bars[0].segments) == 1
    assert drawn.rows[0].amounts == ("$2.00", "-$1.00")
    assert drawn.rows[0].total == drawn.total == "$1.00"


def test_prints_short_ticks_up_to_a_round_top():
    assert [tick.text for tick in chart({"Models": 37 * DOLLAR}).ticks] == ["$0", "$10", "$20", "$30", "$40"]


def test_leaves_room_for_the_words_of_very_small_amounts():
    small = chart({"Models": 3_840})

    assert max(len(tick.text) for tick in small.ticks) > len("$0.0004")
    assert int(small.left) > int(chart({"Models": DOLLAR}).left)
    assert Decimal(small.bars[0].reach_x) == Decimal(small.left)


def test_an_empty_month_is_a_chart_of_nothing():
    drawn = chart({}, {})

    assert drawn.total == "$0.00"
    assert [bar.segments for bar in drawn.bars] == [(), ()]
    assert drawn.ticks[-1].text == "$1"
    assert stacked_bars("Daily spend", []).bars == ()


def test_labels_at_most_eight_days():
    assert len(chart(*[{"Models": DOLLAR}] * 92).days) == 8
    assert len(chart(*[{"Models": DOLLAR}] * 5).days) == 5


@given(st.lists(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(-(10**15), 10**15)), max_size=40))
def test_never_draws_outside_the_frame(amounts):
    drawn = chart(*amounts)

    for bar in drawn.bars:
        for segment in bar.segments:
            assert Decimal(drawn.top) <= Decimal(segment.y) <= Decimal(drawn.base)
            assert Decimal(drawn.left) <= Decimal(segment.x)
            assert Decimal(segment.x) + Decimal(segment.width) <= Decimal(drawn.right)
