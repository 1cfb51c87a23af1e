//! Times as people write and read them.

use std::time::Duration;

/// Microseconds since 1970 as RFC 3339, in UTC.
pub(super) fn rfc3339(time_us: i64) -> String {
    let (seconds, micros) = (time_us.div_euclid(1_000_000), time_us.rem_euclid(1_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days since 0000-03-01, so that the leap day is a year's last: Howard Hinnant's `civil_from_days`.
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// A length of time such as `30d`, `12h`, `90m`, `10s` or `2w`.
pub(super) fn length(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no length of time: give a number and a unit, such as 30d, 12h, 90m, 10s or 2w");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err(wrong()),
    };
    let seconds = number.checked_mul(seconds).ok_or_else(wrong)?;
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_utc() {
        for (time_us, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (1_700_000_000_000_001, "2023-11-14T22:13:20.000001Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(rfc3339(time_us), text);
        }
    }

    #[test]
    fn lengths_have_a_unit() {
        assert_eq!(length("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!(length("2w"), Ok(Duration::from_secs(14 * 86_400)));
        for wrong in [
            "",
            "d",
            "30",
            "-1d",
            "1y",
            "3é",
            "99999999999999999999d",
            "9999999999999999999w",
        ] {
            assert!(length(wrong).is_err_and(|said| said.contains("30d")), "{wrong}");
        }
    }
}
