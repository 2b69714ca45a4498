from django.http import QueryDict

from portal.lib.sorting import Column, query_without, sort_choices, sort_links

COLUMNS = (Column("name", "Name"), Column("price", "Price", is_number=True))


def test_the_current_column_turns_round_and_others_start_ascending():
    query = QueryDict("kind=chat&sort=price&compare=a&compare=b")

    name, price = sort_links(query, COLUMNS, "price")

    assert name.query == "?kind=chat&sort=name&compare=a&compare=b"
    assert name.direction == ""
    assert price.query == "?kind=chat&sort=-price&compare=a&compare=b"
    assert price.direction == "ascending"


def test_a_column_sorted_downward_turns_upward():
    _, price = sort_links(QueryDict("sort=-price"), COLUMNS, "-price")

    assert (price.query, price.direction) == ("?sort=price", "descending")


def test_every_column_has_two_values_in_words_that_fit_it():
    assert [(value, str(label)) for value, label in sort_choices(COLUMNS)] == [
        ("", "As listed"),
        ("name", "Name, A to Z"),
        ("-name", "Name, Z to A"),
        ("price", "Price, low to high"),
        ("-price", "Price, high to low"),
    ]


def test_a_query_loses_only_what_it_is_told_to():
    query = QueryDict("kind=chat&compare=a&compare=b")

    assert query_without(query, "compare", "absent") == "?kind=chat"
    assert query.getlist("compare") == ["a", "b"]
