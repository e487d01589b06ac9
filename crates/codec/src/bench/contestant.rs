//! Names of codecs with their levels: `zstd`, `zstd:3`.

use std::fmt;
use std::str::FromStr;

use crate::{CodecId, CodecName, Error, Level, baselines};

/// A codec at a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contestant {
    /// Which.
    pub codec: CodecName,
    /// The codec's own level; for `auto`, lmgc's. `None` for a codec without levels.
    pub level: Option<i32>,
}

impl Contestant {
    /// A codec at the level at which it is compared; `auto` at its strongest.
    pub fn new(codec: CodecName) -> Self {
        let level = match codec {
            CodecName::Auto => Some(i32::from(Level::default().get())),
            CodecName::One(id) => baselines::levels(id).map(|_| baselines::reference_level(id)),
        };
        Self { codec, level }
    }

    /// All that this program was built with and that need no model, and zstd at its usual level. Without raw, which would
    /// win in speed by doing nothing.
    pub fn usual() -> Vec<Self> {
        let zstd = Self { codec: CodecName::One(CodecId::Zstd), level: Some(3) };
        let raw = CodecName::One(CodecId::Raw);
        CodecName::all().filter(|&codec| codec != raw && !codec.needs_model()).map(Self::new).chain([zstd]).collect()
    }

    /// lmgc's level that means this contestant's.
    ///
    /// # Errors
    /// [`Error::NoSuchLevel`] where there is none.
    pub fn file_level(&self) -> Result<Level, Error> {
        let Some(wanted) = self.level else { return Ok(Level::default()) };
        let native = |level: Level| match self.codec {
            CodecName::One(id) => baselines::native_level(id, level),
            CodecName::Auto => i32::from(level.get()),
        };
        let levels = || (1..=9).filter_map(Level::new);
        levels().find(|&level| native(level) == wanted).ok_or_else(|| Error::NoSuchLevel {
            codec: self.codec,
            level: wanted.to_string(),
            known: format!(
                "in a .lmgc file, it is one of {}",
                levels().map(|level| native(level).to_string()).collect::<Vec<_>>().join(", ")
            ),
        })
    }
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.codec.fmt(f)?;
        self.level.map_or(Ok(()), |level| write!(f, ":{level}"))
    }
}

impl FromStr for Contestant {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let Some((name, level)) = text.split_once(':') else { return Ok(Self::new(text.parse()?)) };
        let codec: CodecName = name.parse()?;
        let levels = match codec {
            CodecName::Auto => Some(1..=9),
            CodecName::One(id) => baselines::levels(id),
        };
        let known = match &levels {
            Some(levels) => format!("its levels are {} to {}", levels.start(), levels.end()),
            None => "it has none, so name it alone".to_owned(),
        };
        let level_number = level.parse().ok().filter(|number| levels.is_some_and(|levels| levels.contains(number)));
        let level_number = level_number.ok_or_else(|| Error::NoSuchLevel { codec, level: level.to_owned(), known })?;
        Ok(Self { codec, level: Some(level_number) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for contestant in Contestant::usual() {
            assert_eq!(contestant.to_string().parse::<Contestant>().unwrap(), contestant);
        }
        assert_eq!("zstd".parse::<Contestant>().unwrap().level, Some(19));
        assert_eq!("zstd:3".parse::<Contestant>().unwrap().level, Some(3));
        assert_eq!("auto".parse::<Contestant>().unwrap().level, Some(5));
        assert_eq!("raw".parse::<Contestant>().unwrap().level, None);
        for wrong in ["zstd:0", "zstd:23", "zstd:", "zstd:x", "raw:1", "auto:10", "lm:1"] {
            let error = wrong.parse::<Contestant>().unwrap_err();
            assert!(matches!(error, Error::NoSuchLevel { .. }), "{wrong}: {error}");
        }
        for wrong in ["", "zst", "zst:3", ":3"] {
            let error = wrong.parse::<Contestant>().unwrap_err();
            assert!(error.to_string().contains("zstd, split-zstd"), "{wrong}: {error}");
        }
    }

    #[test]
    fn levels_of_files() {
        let level = |text: &str| text.parse::<Contestant>().unwrap().file_level();
        assert_eq!(level("zstd").unwrap().get(), 9);
        assert_eq!(level("gzip:4").unwrap().get(), 4);
        assert_eq!(level("auto:2").unwrap().get(), 2);
        assert!(level("raw").is_ok());
        let error = level("zstd:4").unwrap_err().to_string();
        assert!(error.contains("1, 2, 3, 5, 7, 9, 12, 15, 19"), "{error}");
    }
}
