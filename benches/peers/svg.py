"""Line charts as small SVG files, legible on a light and on a dark page."""

import math
from html import escape

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 72, 164, 40, 52

# The page's background shows through; text and grid follow the reader's scheme where the viewer knows it.
STYLE = """text{font:12px system-ui,sans-serif;fill:#57606a}.title{font-size:14px;font-weight:600}
.grid{stroke:#8c959f;stroke-opacity:.3}.axis{stroke:#8c959f}@media(prefers-color-scheme:dark){text{fill:#9da7b1}}"""


class Axis:
    """Maps values onto a stretch of the picture and says where its marks are."""

    def __init__(self, values, begin, end, logarithmic, marks=None):
        self.logarithmic, self.begin, self.end = logarithmic, begin, end
        marks = marks or (self.decades(values) if logarithmic else None)
        if logarithmic:
            every = [*values, *marks]
            self.low, self.high = math.log(min(every)), math.log(max(every))
        else:
            self.low, self.high = 0.0, max(values) * 1.05
        if self.high == self.low:
            self.low, self.high = self.low - 1, self.high + 1
        self.marks = marks or self.round_steps()

    def place(self, value):
        scaled = math.log(value) if self.logarithmic else value
        return self.begin + (scaled - self.low) / (self.high - self.low) * (self.end - self.begin)

    def round_steps(self):
        rough = self.high / 5
        step = next(
            factor * 10 ** math.floor(math.log10(rough))
            for factor in (1, 2, 5, 10)
            if factor * 10 ** math.floor(math.log10(rough)) >= rough
        )
        return [step * i for i in range(int(self.high / step) + 1)]

    @staticmethod
    def decades(values):
        """1, 2, 5, 10, ... from the last that is not above the least value to the first that reaches the greatest."""
        found = [factor * 10**power for power in range(-2, 10) for factor in (1, 2, 5)]
        first = max(mark for mark in found if mark <= min(values))
        last = min(mark for mark in found if mark >= max(values))
        return [mark for mark in found if first <= mark <= last]


def label(value):
    if value >= 1024 and value % 1024 == 0:
        return f"{value // 1024:.0f}k"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def line_chart(title, x_label, y_label, series, x_log=False, y_log=False, x_marks=None):
    """`series`: [(name, colour, dashed, [(x, y), ...])]. The text of an SVG file."""
    points = [point for *_, line in series for point in line]
    x_axis = Axis([x for x, _ in points], LEFT, WIDTH - RIGHT, x_log, x_marks)
    y_axis = Axis([y for _, y in points], HEIGHT - BOTTOM, TOP, y_log)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="{LEFT}" y="20">{escape(title)}</text>',
    ]
    for mark in y_axis.marks:
        y = y_axis.place(mark)
        out.append(
            f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label(mark)}</text>'
        )
    for mark in x_axis.marks:
        x = x_axis.place(mark)
        out.append(
            f'<path class="axis" d="M{x:.1f} {HEIGHT - BOTTOM}v5"/>'
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 19}" text-anchor="middle">{label(mark)}</text>'
        )
    out.append(f'<path class="axis" fill="none" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>')
    middle_x, middle_y = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    out.append(f'<text x="{middle_x}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x_label)}</text>')
    out.append(
        f'<text x="16" y="{middle_y}" text-anchor="middle" transform="rotate(-90 16 {middle_y})">'
        f"{escape(y_label)}</text>"
    )
    for row, (name, colour, dashed, line) in enumerate(series):
        stroke = f'fill="none" stroke="{colour}" stroke-width="2"' + (' stroke-dasharray="6 4"' if dashed else "")
        places = [(x_axis.place(x), y_axis.place(y)) for x, y in sorted(line)]
        if places:
            out.append(f'<path {stroke} d="M' + "L".join(f"{x:.1f} {y:.1f}" for x, y in places) + '"/>')
            out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        y = TOP + 12 + 20 * row
        out.append(
            f'<path {stroke} d="M{WIDTH - RIGHT + 12} {y}h24"/>'
            f'<text x="{WIDTH - RIGHT + 42}" y="{y + 4}">{escape(name)}</text>'
        )
    return "\n".join([*out, "</svg>", ""])
