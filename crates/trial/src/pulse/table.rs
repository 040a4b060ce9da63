//! Tables as text for a terminal or as Markdown.

/// Rows of cells under a head; numbers stand to the right.
pub struct Table {
    head: Vec<&'static str>,
    /// How many of the first columns are words.
    words: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty one. The first `words` columns and the last are aligned to the left.
    pub fn new(words: usize, head: &[&'static str]) -> Self {
        assert!(words < head.len(), "some columns are numbers");
        Self { head: head.to_vec(), words, rows: Vec::new() }
    }

    /// Adds a row of as many cells as there are in the head.
    pub fn push(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.head.len(), "a cell for each column");
        self.rows.push(cells);
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn is_left(&self, column: usize) -> bool {
        column < self.words || column + 1 == self.head.len()
    }

    /// Columns padded to their widest cell.
    pub fn plain(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.head[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |cells: &[String]| {
            let padded = cells.iter().enumerate().map(|(column, cell)| {
                let width = widths[column];
                if self.is_left(column) {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            });
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
        };
        let head: Vec<String> = self.head.iter().map(|&cell| cell.to_owned()).collect();
        std::iter::once(&head).chain(&self.rows).map(|cells| line(cells)).collect()
    }

    /// A table of GitHub's kind of Markdown.
    pub fn markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let plain = |cell: &String| cell.replace('|', "\\|");
        let rule = |column| if self.is_left(column) { "---" } else { "---:" };
        let mut text = line(self.head.iter().map(|&cell| cell.to_owned()).collect());
        text += &line((0..self.head.len()).map(|column| rule(column).to_owned()).collect());
        text.extend(self.rows.iter().map(|row| line(row.iter().map(plain).collect())));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(1, &["row", "ms", "verdict"]);
        table.push(["1a", "7.5", "holds"].map(String::from).to_vec());
        table.push(["quiet", "1234", "a|b"].map(String::from).to_vec());
        table
    }

    #[test]
    fn words_stand_to_the_left_and_numbers_to_the_right() {
        let wanted = "row      ms  verdict\n1a      7.5  holds\nquiet  1234  a|b\n";
        assert_eq!(table().plain(), wanted);
    }

    #[test]
    fn markdown_has_a_rule_below_its_head_and_escapes_what_would_end_a_cell() {
        let wanted = "| row | ms | verdict |\n| --- | ---: | --- |\n\
                      | 1a | 7.5 | holds |\n| quiet | 1234 | a\\|b |\n";
        assert_eq!(table().markdown(), wanted);
    }
}
