//! Lists of numbers as people type them: `0,2-3`.

use std::ops::Deref;
use std::str::FromStr;

/// Layers or heads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberList(Vec<usize>);

/// More than any model has of either.
const MOST: usize = 4096;

impl FromStr for NumberList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write numbers and ranges, such as `0,2-3`".to_owned();
        let number = |text: &str| text.trim().parse().ok().filter(|number| *number < MOST).ok_or_else(wrong);
        let mut numbers = Vec::new();
        for part in text.split(',') {
            match part.split_once('-') {
                None => numbers.push(number(part)?),
                Some((first, last)) => {
                    let (first, last) = (number(first)?, number(last)?);
                    if first > last {
                        return Err(format!("{first}-{last} runs backwards: write {last}-{first}"));
                    }
                    numbers.extend(first..=last);
                }
            }
        }
        Ok(Self(numbers))
    }
}

impl Deref for NumberList {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_may_have_ranges() {
        let list = |text: &str| text.parse::<NumberList>().map(|list| list.to_vec());
        assert_eq!(list("0,2-4, 7"), Ok(vec![0, 2, 3, 4, 7]));
        assert_eq!(list("3-3"), Ok(vec![3]));
        for wrong in ["", "a", "1-", "-1", "1,,2", "1.5", "99999", "0-99999999999"] {
            assert!(list(wrong).is_err_and(|said| said.contains("0,2-3")), "{wrong}");
        }
        assert!(list("4-2").is_err_and(|said| said.contains("2-4")));
    }
}
