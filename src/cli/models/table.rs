//! Tables of names and numbers.

use std::io::{self, Write};

use crate::cli::terminal::name;

/// Columns as wide as their widest cell, two spaces between them, none at the end of a line.
pub fn write<const N: usize>(lines: &[[String; N]], out: &mut dyn Write) -> io::Result<()> {
    let widths: [usize; N] = std::array::from_fn(|column| width(lines, column));
    for line in lines {
        write_line(line.iter().zip(widths), out)?;
    }
    Ok(())
}

/// What may be left out of a table that is too wide.
pub struct Narrowing<'a> {
    /// The column that is cut first, and what it needs at least.
    pub cut: (usize, usize),
    /// The columns that go then, in turn.
    pub dropped: &'a [usize],
}

/// The same in lines of no more than `room` letters, if that can be.
pub fn write_within<const N: usize>(
    lines: &[[String; N]],
    room: usize,
    narrowing: &Narrowing,
    out: &mut dyn Write,
) -> io::Result<()> {
    let columns = fit::<N>(std::array::from_fn(|column| width(lines, column)), room, narrowing);
    for line in lines {
        let cells: Vec<(String, usize)> =
            columns.iter().map(|&(column, width)| (cut(&name(&line[column]), width), width)).collect();
        write_line(cells.iter().map(|(cell, width)| (cell, *width)), out)?;
    }
    Ok(())
}

const GAP: usize = 2;

/// The columns that stay, with their widths.
fn fit<const N: usize>(widths: [usize; N], room: usize, narrowing: &Narrowing) -> Vec<(usize, usize)> {
    let (elastic, least) = narrowing.cut;
    let mut columns: Vec<(usize, usize)> = widths.into_iter().enumerate().collect();
    for drop in narrowing.dropped.iter().map(Some).chain([None]) {
        let whole: usize = columns.iter().map(|(_, width)| width + GAP).sum::<usize>().saturating_sub(GAP);
        let others = whole.saturating_sub(widths[elastic]);
        if whole <= room || others + least <= room {
            for (_, width) in columns.iter_mut().filter(|(column, _)| *column == elastic) {
                *width = (*width).min(room.saturating_sub(others));
            }
            return columns;
        }
        columns.retain(|(column, _)| Some(column) != drop);
    }
    columns.retain(|(column, _)| *column != elastic);
    columns
}

fn width<const N: usize>(lines: &[[String; N]], column: usize) -> usize {
    lines.iter().map(|line| name(&line[column]).chars().count()).max().unwrap_or(0)
}

fn cut(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    let kept: String = cell.chars().take(width.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end_matches([' ', ',']))
}

fn write_line<'a>(cells: impl Iterator<Item = (&'a String, usize)>, out: &mut dyn Write) -> io::Result<()> {
    let mut text = String::new();
    for (cell, width) in cells {
        text += &format!("{:width$}  ", name(cell));
    }
    writeln!(out, "{}", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(room: usize) -> String {
        let lines = [["NAME", "KIND", "DATA"], ["one", "a kind", "data, of a kind"]]
            .map(|line| line.map(String::from));
        let mut out = Vec::new();
        write_within(&lines, room, &Narrowing { cut: (2, 5), dropped: &[1] }, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_does_not_fit_is_cut_and_then_dropped() {
        assert_eq!(table(80), "NAME  KIND    DATA\none   a kind  data, of a kind\n");
        assert_eq!(table(29), table(80));
        assert_eq!(table(23), "NAME  KIND    DATA\none   a kind  data, of…\n");
        assert_eq!(table(20), "NAME  KIND    DATA\none   a kind  data…\n");
        assert_eq!(table(18), "NAME  DATA\none   data, of a…\n");
        assert_eq!(table(5), "NAME\none\n");
        assert_eq!(table(0), "NAME\none\n");
    }
}
