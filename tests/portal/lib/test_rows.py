from html5lib import HTMLParser

from portal.lib.rows import Cell, table_rows


def parsed(rows):
    return HTMLParser(strict=True, namespaceHTMLElements=False).parseFragment(rows, container="tbody")


def test_names_the_row_and_labels_its_numbers():
    [row] = parsed(table_rows(("Share", "Amount"), [(Cell("Vision"), Cell("12 %"), Cell("$1.00", exact="$1.004"))]))

    name, share, amount = row
    assert (name.tag, name.get("scope"), name.text) == ("th", "row", "Vision")
    assert (share.get("data-label"), share.text, share.get("title")) == ("Share", "12 %", None)
    assert (amount.get("data-label"), amount.text, amount.get("title")) == ("Amount", "$1.00", "$1.004")


def test_puts_notes_below():
    [row] = parsed(table_rows(("Price",), [(Cell("Input", note="model.demo.input"), Cell("$2", note="price_1"))]))

    assert [note.text for note in row.iter("span")] == ["Input", "model.demo.input", "price_1"]


def test_escapes_whatever_people_typed():
    evil = "<script>\"'&"
    [row] = parsed(table_rows((evil,), [(Cell(evil, note=evil), Cell(evil, note=evil, exact=evil))]))

    name, cell = row
    assert [span.text for span in row.iter("span")] == [evil] * 3
    assert (cell.get("data-label"), cell.get("title"), cell.text) == (evil, evil, evil)
    assert not list(row.iter("script"))
    assert name.tag == "th"
