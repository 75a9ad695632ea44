//! Templates: floats in decimal, as Go's strconv and fmt write them.

use super::format::Flags;

/// No float has more digits than this, before or after its point.
const MAX_DIGITS: usize = 1100;

/// The sign (perhaps none) and the rest of `number`, for the verbs v, g, G, e, E, f and F.
pub(super) fn format(number: f64, verb: char, flags: &Flags) -> (&'static str, String) {
    let sign = match (number.is_sign_negative() && !number.is_nan(), flags.plus, flags.space) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    };
    if number.is_nan() {
        return (sign, "NaN".to_owned());
    }
    if number.is_infinite() {
        // Infinity keeps its sign.
        return (if sign.is_empty() { "+" } else { sign }, "Inf".to_owned());
    }
    let size = number.abs();
    let body = match verb {
        'f' | 'F' => fixed(size, flags.precision.unwrap_or(6)),
        'e' | 'E' => exponential(size, flags.precision.unwrap_or(6)),
        _ => general(size, flags.precision),
    };
    let body = if flags.sharp { with_point(&body, verb, flags.precision) } else { body };
    (sign, if matches!(verb, 'E' | 'G') { body.to_ascii_uppercase() } else { body })
}

fn fixed(size: f64, precision: usize) -> String {
    let exact = precision.min(MAX_DIGITS);
    let text = format!("{size:.exact$}");
    text + &"0".repeat(precision - exact)
}

fn exponential(size: f64, precision: usize) -> String {
    let exact = precision.min(MAX_DIGITS);
    let text = format!("{size:.exact$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    format!("{mantissa}{}{}", "0".repeat(precision - exact), exponent_text(exponent))
}

/// Go writes a sign and at least two digits.
fn exponent_text(exponent: &str) -> String {
    match exponent.strip_prefix('-') {
        Some(digits) => format!("e-{digits:0>2}"),
        None => format!("e+{exponent:0>2}"),
    }
}

/// The shorter of the two forms, with as many digits as are needed or, with a precision, at most so many.
fn general(size: f64, precision: Option<usize>) -> String {
    if size == 0.0 {
        return "0".to_owned();
    }
    let text = match precision {
        None => format!("{size:e}"),
        Some(precision) => {
            let after = precision.clamp(1, MAX_DIGITS) - 1;
            format!("{size:.after$e}")
        }
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = mantissa.replace('.', "");
    let digits = digits.trim_end_matches('0');
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let point = exponent + 1;
    let limit = match precision {
        None => 6,
        Some(precision) => {
            let limit = i32::try_from(precision.max(1)).unwrap_or(i32::MAX);
            if limit > count && count >= point { count } else { limit }
        }
    };
    if exponent < -4 || exponent >= limit {
        let rest = if digits.len() > 1 { format!(".{}", &digits[1..]) } else { String::new() };
        return format!("{}{rest}{}", &digits[..1], exponent_text(&exponent.to_string()));
    }
    if point <= 0 {
        let zeros = usize::try_from(-point).unwrap_or(0);
        return format!("0.{}{digits}", "0".repeat(zeros));
    }
    let point = usize::try_from(point).unwrap_or(0);
    if digits.len() <= point {
        return format!("{digits}{}", "0".repeat(point - digits.len()));
    }
    format!("{}.{}", &digits[..point], &digits[point..])
}

/// With `#` there is always a point, and %g keeps its zeros.
fn with_point(body: &str, verb: char, precision: Option<usize>) -> String {
    let (number, tail) = match body.find('e') {
        Some(at) => body.split_at(at),
        None => (body, ""),
    };
    let mut number = number.to_owned();
    let mut wanted = if matches!(verb, 'v' | 'g' | 'G') { precision.unwrap_or(6) } else { 0 };
    let significant = number.chars().filter(char::is_ascii_digit).skip_while(|c| *c == '0').count();
    wanted = wanted.saturating_sub(significant);
    if !number.contains('.') {
        if number == "0" {
            wanted = wanted.saturating_sub(1);
        }
        number.push('.');
    }
    number.push_str(&"0".repeat(wanted));
    number + tail
}
