//! Areas of given sizes that fill a rectangle, as near to squares as may be: "squarified treemaps" (Bruls, Huizing, van
//! Wijk). Pure, and the same everywhere: nothing but the four operations.

/// A rectangle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Area {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Area {
    /// The same without a strip at each side, and one at the top.
    pub(super) fn inset(self, side: f64, top: f64) -> Self {
        Area {
            x: self.x + side,
            y: self.y + top,
            width: (self.width - 2.0 * side).max(0.0),
            height: (self.height - top - side).max(0.0),
        }
    }
}

/// Areas in `whole` in proportion to `sizes`, which begin with the largest; in their order. What has no size has no area.
pub(super) fn areas(sizes: &[u64], whole: Area) -> Vec<Area> {
    let total: u64 = sizes.iter().copied().fold(0, u64::saturating_add);
    let unit = whole.width * whole.height / number(total.max(1));
    let sizes: Vec<f64> = sizes.iter().map(|size| number(*size) * unit).collect();
    let mut areas = Vec::with_capacity(sizes.len());
    let mut free = whole;
    let mut rest = sizes.as_slice();
    while !rest.is_empty() {
        let short = free.width.min(free.height);
        // As long as a further one makes the worst of the row better.
        let mut count = 1;
        while count < rest.len() && worst(&rest[..count + 1], short) <= worst(&rest[..count], short) {
            count += 1;
        }
        let (row, more) = rest.split_at(count);
        free = lay(row, free, &mut areas);
        rest = more;
    }
    areas
}

/// The longest side by the shortest of the worst area in a row along a side of this length.
fn worst(row: &[f64], side: f64) -> f64 {
    let sum: f64 = row.iter().sum();
    let (most, least) =
        row.iter().fold((0.0_f64, f64::MAX), |(most, least), size| (most.max(*size), least.min(*size)));
    if sum <= 0.0 || least <= 0.0 || side <= 0.0 {
        return f64::MAX;
    }
    let square = |n: f64| n * n;
    (square(side) * most / square(sum)).max(square(sum) / (square(side) * least))
}

/// Lays a row along the shorter side; gives what is left.
fn lay(row: &[f64], free: Area, areas: &mut Vec<Area>) -> Area {
    let sum: f64 = row.iter().sum();
    let is_wide = free.width >= free.height;
    let side = if is_wide { free.height } else { free.width };
    let thick = if side > 0.0 { sum / side } else { 0.0 };
    let mut at = 0.0;
    for size in row {
        let long = if thick > 0.0 { size / thick } else { 0.0 };
        areas.push(match is_wide {
            true => Area { x: free.x, y: free.y + at, width: thick, height: long },
            false => Area { x: free.x + at, y: free.y, width: long, height: thick },
        });
        at += long;
    }
    match is_wide {
        true => Area { x: free.x + thick, width: (free.width - thick).max(0.0), ..free },
        false => Area { y: free.y + thick, height: (free.height - thick).max(0.0), ..free },
    }
}

/// As it is drawn: what a rounding loses nobody sees.
#[expect(clippy::cast_precision_loss, reason = "sizes of areas on a screen")]
pub(super) fn number(size: u64) -> f64 {
    size as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Area = Area { x: 0.0, y: 0.0, width: 600.0, height: 400.0 };

    #[test]
    fn areas_are_in_proportion_fill_the_whole_and_are_near_to_squares() {
        // The example of the paper.
        let sizes = [6, 6, 4, 3, 2, 2, 1];
        let found = areas(&sizes, WHOLE);
        let total: u64 = sizes.iter().sum();
        for (area, size) in found.iter().zip(sizes) {
            let expected = 240_000.0 * number(size) / number(total);
            assert!((area.width * area.height - expected).abs() < 0.01, "{area:?}");
            assert!(area.x >= -0.01 && area.y >= -0.01, "{area:?}");
            assert!(area.x + area.width <= 600.01 && area.y + area.height <= 400.01, "{area:?}");
            assert!((area.width / area.height).max(area.height / area.width) < 3.0, "{area:?}");
        }
        for (number, one) in found.iter().enumerate() {
            for other in &found[number + 1..] {
                let apart = |a: &Area, b: &Area| a.x + a.width <= b.x + 0.01 || a.y + a.height <= b.y + 0.01;
                assert!(apart(one, other) || apart(other, one), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn odd_sizes_give_areas_all_the_same() {
        let flat = Area { height: 0.0, ..WHOLE };
        for (sizes, whole) in [
            (vec![], WHOLE),
            (vec![0, 0], WHOLE),
            (vec![5, 0], WHOLE),
            (vec![u64::MAX, u64::MAX, 1], WHOLE),
            (vec![3, 2, 1], flat),
        ] {
            let found = areas(&sizes, whole);
            assert_eq!(found.len(), sizes.len());
            let is_number = |n: f64| n.is_finite() && n >= 0.0;
            let fine = |a: &Area| [a.x, a.y, a.width, a.height].into_iter().all(is_number);
            assert!(found.iter().all(fine), "{found:?}");
        }
    }
}
