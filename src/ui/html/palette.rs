//! The colours of the page, for light and for dark surroundings.

/// A colour: its name in the style sheet, and its value in light and in dark surroundings.
type Colour = (&'static str, u32, u32);

/// What the page is written on, and in.
const PAGE: &[Colour] = &[
    ("page", 0xffffff, 0x0f1419),
    ("panel", 0xf5f7f9, 0x171d24),
    ("text", 0x1b1f24, 0xe6e9ed),
    ("muted", 0x545d68, 0x9faab6),
    ("link", 0x0550ae, 0x7ab7ff),
    ("line", 0xd3d9e0, 0x323c47),
    ("bar", 0x3b76c4, 0x5b93d8),
];

/// What areas of the map are filled with, by whose code or what sort of data it is. Modules take the last ones in turn.
const FILLS: &[Colour] = &[
    ("std", 0xcfe2ff, 0x1d3b66),
    ("own", 0xc6eecf, 0x1c4a2c),
    ("none", 0xe4e7eb, 0x2c343d),
    ("code", 0xd9dee4, 0x333c45),
    ("data", 0xdde1e6, 0x2b333c),
    ("functions", 0xced5dc, 0x38424c),
    ("symbols", 0xe3ddd5, 0x3a342d),
    ("debug", 0xe9e2d2, 0x3f392b),
    ("other", 0xeeeeee, 0x2a2a2a),
    ("m0", 0xffdfbd, 0x5a3a14),
    ("m1", 0xecd6ff, 0x452a60),
    ("m2", 0xffd3dc, 0x5f2735),
    ("m3", 0xcdeef3, 0x14464d),
    ("m4", 0xf2e9ad, 0x4b4411),
    ("m5", 0xdfe6c0, 0x39431d),
];

/// How many colours modules take in turn.
pub(super) const MODULES: usize = 6;

/// The style sheet's variables, and the fill of each sort of area.
pub(super) fn css() -> String {
    let variables = |pick: fn(&Colour) -> u32| -> String {
        let all = PAGE.iter().chain(FILLS);
        all.map(|colour| format!("--{}:#{:06x};", colour.0, pick(colour))).collect()
    };
    let (light, dark) = (variables(|colour| colour.1), variables(|colour| colour.2));
    let fills = FILLS.iter().map(|(name, ..)| format!(".{name}{{fill:var(--{name})}}"));
    format!(
        ":root{{color-scheme:light dark;{light}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n{}\n",
        fills.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The relative luminance of a colour (WCAG 2.2, "relative luminance").
    fn luminance(colour: u32) -> f64 {
        let part = |shift: u32| {
            let part = f64::from(colour >> shift & 0xff) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(16) + 0.7152 * part(8) + 0.0722 * part(0)
    }

    fn contrast(one: u32, other: u32) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    fn named(name: &str) -> Colour {
        *PAGE.iter().find(|colour| colour.0 == name).unwrap()
    }

    #[test]
    fn whatever_is_written_can_be_read_in_either_scheme() {
        assert!(
            (contrast(0xffffff, 0) - 21.0).abs() < 0.01 && (contrast(0x777777, 0xffffff) - 4.48).abs() < 0.01
        );
        let pairs = |text: &str, on: Colour, least: f64| {
            let text = named(text);
            for (scheme, text, on) in [("light", text.1, on.1), ("dark", text.2, on.2)] {
                let found = contrast(text, on);
                assert!(found >= least, "{scheme}: {text:06x} on {on:06x}: {found:.2}");
            }
        };
        for on in ["page", "panel"] {
            ["text", "muted", "link"].iter().for_each(|text| pairs(text, named(on), 4.5));
            // What isn't text: bars, and the frame of what has the focus (WCAG 2.2, 1.4.11).
            pairs("bar", named(on), 3.0);
        }
        FILLS.iter().for_each(|fill| pairs("text", *fill, 4.5));
        assert_eq!(FILLS.iter().filter(|fill| fill.0.starts_with('m')).count(), MODULES);
    }
}
