//! Medians, ratios, and the table of them.

/// What a round measured: through ssh, and through tunneld (or what else a table compares).
pub(crate) struct Round<T> {
    pub(crate) ssh: T,
    pub(crate) tunneld: T,
}

/// The rows so far, printed as Markdown at the end.
pub(crate) struct Table {
    columns: [&'static str; 2],
    rows: Vec<[String; 4]>,
}

impl Default for Table {
    fn default() -> Self {
        Table::between("ssh", "tunneld")
    }
}

impl Table {
    /// A table of two that are compared: the ratio is the second's by the first's.
    pub(crate) fn between(first: &'static str, second: &'static str) -> Self {
        Table {
            columns: [first, second],
            rows: Vec::new(),
        }
    }

    /// A row of which more is better.
    pub(crate) fn higher<T>(&mut self, name: &str, rounds: &[Round<T>], of: impl Fn(&T) -> f64) {
        self.row(&format!("{name} ↑"), rounds, of);
    }

    /// A row of which less is better.
    pub(crate) fn lower<T>(&mut self, name: &str, rounds: &[Round<T>], of: impl Fn(&T) -> f64) {
        self.row(&format!("{name} ↓"), rounds, of);
    }

    fn row<T>(&mut self, name: &str, rounds: &[Round<T>], of: impl Fn(&T) -> f64) {
        let ssh = median(rounds.iter().map(|r| of(&r.ssh)).collect());
        let tunneld = median(rounds.iter().map(|r| of(&r.tunneld)).collect());
        let ratios: Vec<f64> = rounds.iter().map(|r| of(&r.tunneld) / of(&r.ssh)).collect();
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = ratios.iter().copied().fold(0.0, f64::max);
        let mut ratio = format!("x{:.2}", median(ratios));
        if rounds.len() > 1 {
            ratio.push_str(&format!(" ({least:.2}–{most:.2})"));
        }
        let cells = [name.to_owned(), number(ssh), number(tunneld), ratio];
        eprintln!("  {}: {} | {} | {}", cells[0], cells[1], cells[2], cells[3]);
        self.rows.push(cells);
    }

    /// Prints the table to stdout.
    pub(crate) fn print(&self) {
        if self.rows.is_empty() {
            return;
        }
        let [first, second] = self.columns;
        println!("\n| | {first} | {second} | ratio (least–most) |\n|---|---|---|---|");
        for row in &self.rows {
            println!("| {} |", row.join(" | "));
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = ((values.len() - 1) / 2, values.len() / 2);
    (values[low] + values[high]) / 2.0
}

/// Three significant digits are more than the noise allows.
fn number(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}
