"""The tables of a Markdown file, by heading. Whatever cannot be read is an unreadable_table that
names its heading."""
import re


class unreadable_table(Exception):
    pass


class markdown_table:
    def __init__(self, heading, columns):
        self.heading, self.columns = heading, columns
        self.rows = []  # of cells, as many as there are columns
        self.lead = ""  # the paragraph before the table, as plain text
        self.note = ""  # the first paragraph behind it

    def fail(self, why):
        raise unreadable_table(f'under "{self.heading}", table "{self.columns[0]}": {why}')

    def row(self, pattern):
        """The one row whose first cell begins as the pattern says."""
        found = self.rows_like(pattern)
        if len(found) != 1:
            self.fail(f'{len(found)} rows begin with "{pattern}", not one')
        return found[0]

    def rows_like(self, pattern):
        return [row for row in self.rows if re.match(pattern, row[0])]

    def text(self, row, column):
        if self.columns.count(column) != 1:
            self.fail(f'{self.columns.count(column)} columns are named "{column}", not one')
        return row[self.columns.index(column)]

    def numbers(self, row, column):
        """What stands between slashes: "2933 / 1987" is two. Units may follow each number."""
        cell = self.text(row, column)
        found = [re.match(r"(-?[\d,]*\.?\d+)(?=\s|$)", part.strip()) for part in cell.split(" / ")]
        if not all(found):
            self.fail(f'row "{row[0]}", column "{column}": "{cell}" is not a number')
        return [float(match.group(1).replace(",", "")) for match in found]

    def number(self, row, column):
        found = self.numbers(row, column)
        if len(found) != 1:
            self.fail(f'row "{row[0]}", column "{column}": {len(found)} numbers, not one')
        return found[0]

    def sentence(self, beginning=""):
        """The note's part that begins so, up to its end or semicolon; empty when there is none."""
        parts = re.split(r"(?<=[.;])\s+", self.note)
        found = [part for part in parts if part.startswith(beginning)]
        return found[0].rstrip(".;") if found else ""


def plain(text):
    """Without what Markdown adds."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return " ".join(re.sub(r"\*\*|`", "", text).split())


def cells(line):
    inner = line.strip().removeprefix("|").removesuffix("|")
    return [plain(cell.replace(r"\|", "|")) for cell in re.split(r"(?<!\\)\|", inner)]


def read_table(heading, lines):
    table = markdown_table(heading, cells(lines[0]))
    if len(lines) < 2 or not re.fullmatch(r"\|?(\s*:?-+:?\s*\|?)+", lines[1].strip()):
        table.fail("no line of dashes behind the first")
    for line in lines[2:]:
        row = cells(line)
        if len(row) != len(table.columns):
            table.fail(f'row "{row[0]}" has {len(row)} cells, the head {len(table.columns)}')
        table.rows.append(row)
    return table


class document:
    """All tables of a file; every one is read, also those that nobody asks for."""

    def __init__(self, text):
        self.tables = {}  # heading: tables
        heading = ""
        lead, last = "", None  # paragraph and table before
        for block in re.split(r"\n\s*\n", text):
            lines = block.strip().splitlines()
            while lines and lines[0].startswith("#"):
                heading = lines.pop(0).lstrip("#").strip()
                lead, last = "", None
                self.tables.setdefault(heading, [])
            if lines and lines[0].startswith("|"):
                last = read_table(heading, lines)
                last.lead = lead
                self.tables.setdefault(heading, []).append(last)
            elif any(line.startswith("|") for line in lines):
                raise unreadable_table(
                    f'under "{heading}": a table without an empty line before it')
            elif lines and not lines[0].startswith("!["):
                lead = plain(" ".join(lines))
                if last and not last.note:
                    last.note = lead

    def all(self, heading, first_column):
        """Tables under a heading whose first column's name matches."""
        if heading not in self.tables:
            raise unreadable_table(f'there is no heading "{heading}"')
        return [table for table in self.tables[heading]
                if re.fullmatch(first_column, table.columns[0])]

    def one(self, heading, first_column=".*"):
        found = self.all(heading, first_column)
        if len(found) != 1:
            raise unreadable_table(f'under "{heading}" are {len(found)} tables, not one, whose '
                                   f'first column is "{first_column}"')
        return found[0]
