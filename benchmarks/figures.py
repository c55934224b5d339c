"""What is drawn of benchmarks/results.md, as plain data: figures of panels of groups of bars. No
value stands here: all come from the tables, with the conditions from the text around them. A table
that says "missed" where its ratio says otherwise, or the other way round, is unreadable."""
import re

import tables

TYPES = "And by weight type and threads?"
DEPTHS = "And behind a long prompt?"
CLIENTS = "And many clients at once?"
START = "And on a busy machine, at the start, and in memory?"
KERNELS = "How fast is each weight type?"
PAIRS = "×: as a multiple of llama.cpp's; targets are such multiples, too"
PHASES = ("prefill", "decode")


def bar(value, label=None, target=None, missed=False):
    """A value, what is written on it, and the target in the same unit, if there is one."""
    return {"value": value, "label": label or f"{value:g}", "target": target, "missed": missed}


def panel(table, title, unit, groups, **more):
    """groups: {label: {series: bar}}. line: a value that all are to be seen against."""
    if not groups:
        table.fail(f'no row for the plot "{title}"')
    return {"title": title, "unit": unit, "groups": groups, **more}


def figure(title, panels, notes, **more):
    return {"title": title, "panels": panels, "notes": [note for note in notes if note], **more}


def targets(table, row, column, values, lower_is_better=False):
    """The target in a cell like "1.3, missed", and which of the values miss it."""
    cell = table.text(row, column)
    if not cell:
        return None, [False for _ in values]
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(?: %)?(, missed.*)?", cell)
    if not found:
        table.fail(f'row "{row[0]}": "{cell}" is not a target like "1.3" or "1.3, **missed**"')
    target = float(found.group(1))
    missed = [value > target if lower_is_better else value < target for value in values]
    if any(missed) != bool(found.group(2)):
        table.fail(f'row "{row[0]}": the target cell "{cell}" does not agree with {values}')
    return target, missed


def pair(ours, theirs, ratio, target, missed):
    """Ours and llama.cpp's bar. The target is a ratio, so it stands at that multiple of theirs."""
    at = None if target is None else round(target * theirs, 4)
    return {"DLLS": bar(ours, f"{ours:g}\n×{ratio:.2f}", at, missed), "llama.cpp": bar(theirs)}


def row_pair(table, row, lower_is_better=False):
    ours, theirs, ratio = (table.number(row, name) for name in ("DLLS", "llama.cpp", "ratio"))
    target, missed = targets(table, row, "target", [ratio], lower_is_better)
    return pair(ours, theirs, ratio, target, missed[0])


def threads_of(table):
    """In which order the cells have their figures: the first row's label says it."""
    found = re.search(r"(\d+) / (\d+) threads", table.rows[0][0]) if table.rows else None
    if not found:
        table.fail('its first row does not say "2 / 1 threads"')
    return ["1 thread" if count == "1" else f"{count} threads" for count in found.groups()]


def two_numbers(table, row, column):
    found = table.numbers(row, column)
    if len(found) != 2:
        table.fail(f'row "{row[0]}", column "{column}": {len(found)} numbers, not two')
    return found


def typed_groups(table, phase, column, target_column, form):
    groups = {}
    for row in table.rows_like(phase):
        values = two_numbers(table, row, column)
        target, missed = targets(table, row, target_column, values)
        bars = {series: bar(value, form.format(value), target, miss)
                for series, value, miss in zip(threads_of(table), values, missed)}
        name = re.fullmatch(r"\w+ \d+, (\w+)(?:, .*)?", row[0])
        if not name:
            table.fail(f'row "{row[0]}" is not "{phase} N, TYPE"')
        groups[name.group(1)] = {series: bars[series] for series in sorted(bars)}
    return groups


def tokens_of(table, phase):
    """How many tokens the table's prompts or answers have."""
    rows = table.rows_like(rf"{phase} \d+, ")
    if not rows:
        table.fail(f'no row begins with "{phase} N, "')
    return int(re.match(r"\w+ (\d+)", rows[0][0]).group(1))


def ratios(results):
    table = results.one(TYPES)
    panels = []
    for phase in PHASES:
        groups = typed_groups(table, phase, "ratio", "target", "{:.2f}")
        panels.append(panel(
            table, f"{phase}, {tokens_of(table, phase)} tokens", "ratio to llama.cpp", groups, line=1,
            line_label="as fast as llama.cpp"))
    return figure("Tokens a second, as a multiple of llama.cpp's", panels, [table.sentence()])


def depths(results):
    """{tokens before: table}."""
    found = {}
    for table in results.all(DEPTHS, r"behind \d+ tokens.*"):
        found[int(re.match(r"behind (\d+)", table.columns[0]).group(1))] = table
    if not found:
        raise tables.unreadable_table(f'under "{DEPTHS}" is no table "behind N tokens"')
    return found


def decode_rows(table):
    """Threads, cache types and row of each row of decoding."""
    for row in table.rows_like("decode"):
        found = re.fullmatch(r"decode \d+, (\d+ threads?), (?:caches of )?(.*)", row[0])
        if not found:
            table.fail(f'row "{row[0]}" is not "decode N, N threads, caches of TYPE"')
        threads, caches = found.groups()
        caches = caches.replace("ours of ", "ours ").replace(", the peer's of ", ",\npeer ")
        yield threads, caches, row


def behind_prompt(table):
    """Of the table by type: its decoding follows the prompt, with the default cache."""
    row = table.row("decode .*Q4_1")
    columns = [two_numbers(table, row, name) for name in ("DLLS", "llama.cpp", "ratio")]
    target, missed = targets(table, row, "target", columns[2])
    groups = {f"f16\n{threads}": pair(*figures, target, miss)
              for threads, *figures, miss in zip(threads_of(table), *columns, missed)}
    return {label: groups[label] for label in sorted(groups)}


def decode_at_depth(results):
    typed = results.one(TYPES)
    found = {tokens_of(typed, "prefill"): (typed, behind_prompt(typed))}
    for depth, table in depths(results).items():
        found[depth] = table, {f"{caches}\n{threads}": row_pair(table, row)
                               for threads, caches, row in decode_rows(table)}
    return figure(
        "Decode behind a prompt, by cache type, Q4_1",
        [panel(table, f"behind {depth} tokens", "tokens/s", groups)
         for depth, (table, groups) in sorted(found.items())],
        [PAIRS] + [f"Behind {depth}: {table.sentence()}"
                   for depth, (table, _) in sorted(found.items())],
        same_axis=True)


def read_limit(results):
    typed = results.one(TYPES)
    unit, all_of_it = "% of the read limit", "all that memory gives"
    panels = [panel(
        typed, f"by weight type, behind {tokens_of(typed, 'prefill')} tokens", unit,
        typed_groups(typed, "decode", "of the read limit", "target of that", "{:g} %"),
        line=100, line_label=all_of_it)]
    notes = [typed.sentence(), typed.sentence("The read limit is")]
    for depth, table in sorted(depths(results).items()):
        groups = {}
        for threads, caches, row in decode_rows(table):
            value = table.number(row, "of the read limit")
            groups.setdefault(caches, {})[threads] = bar(value, f"{value:g} %")
        panels.append(panel(table, f"Q4_1 by cache type, behind {depth} tokens", unit, groups,
                            line=100, line_label=all_of_it))
        notes.append(f"Behind {depth}: {table.sentence()}")
    return figure("Decode: the share of what threads can read from memory", panels, notes,
                  same_axis=True)


def many_clients(results):
    table = results.one(CLIENTS)
    rates, waits = {}, {}
    for row in table.rows:
        found = re.fullmatch(
            r"(\d+ clients), (.*)[,:] (tokens/s in all|first token, mean, s)", row[0])
        if not found:
            table.fail(f'row "{row[0]}" is neither "N clients, WHAT: tokens/s in all" nor '
                       '"N clients, WHAT: first token, mean, s"')
        label = found.group(1) + "\n" + found.group(2).replace(", ", ",\n")
        if found.group(3).startswith("tokens/s"):
            rates[label] = row_pair(table, row)
        else:
            waits[label] = row_pair(table, row, lower_is_better=True)
    return figure(
        f"Many clients at once, {table.columns[0]}",
        [panel(table, "tokens a second, all clients together", "tokens/s", rates),
         panel(table, "first token, mean (less is better)", "s", waits)],
        [PAIRS, table.sentence()])


def start(results):
    table = results.one(START)
    panels = []
    for pattern in ("start to first token", "resident"):
        row = table.row(pattern)
        what, unit = row[0].rsplit(", ", 1)
        panels.append(panel(table, f"{what} (less is better)", unit,
                            {"": row_pair(table, row, lower_is_better=True)}))
    return figure(f"Start and memory, {table.columns[0]}", panels,
                  [PAIRS, table.sentence()])


def weight_types(results):
    table = results.one(KERNELS)
    panels = []
    for rows, title in (("1 row", "1 row of activations, as in decoding"),
                        ("128", "128 rows, as in a prompt")):
        groups = {}
        for row in table.rows:
            values = {name: table.number(row, f"{name}: {rows}") for name in ("AVX2", "AVX-512")}
            groups[row[0]] = {name: bar(value) for name, value in values.items()}
        panels.append(panel(table, title, "GMAC/s", groups))
    return figure("Products with each weight type", panels, [table.lead], stacked=True)


ALL = {"ratios": ratios, "depth": decode_at_depth, "clients": many_clients, "start": start,
       "read_limit": read_limit, "weight_types": weight_types}


def read(text):
    """{name: figure} of the whole file."""
    results = tables.document(text)
    machine = results.one("Machine")
    processor, date = (machine.row(name)[1] for name in ("processor", "date"))
    found = {}
    for name, make in ALL.items():
        found[name] = make(results)
        found[name]["notes"].append(f"{processor}; {date}")
    return found
