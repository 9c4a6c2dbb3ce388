//! The values of single elements in the responses of APIs of XML.

/// The text of the first element of this name that has no children; `None` if there is no such element, or if it is not
/// well-formed.
///
/// Responses of AWS's query protocol name each value once and have neither attributes on these elements nor CDATA.
pub(crate) fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (value, _) = rest.split_once(&format!("</{name}>"))?;
    unescape(value)
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(['&', '<']) {
        let (plain, entity) = rest.split_at(start);
        out.push_str(plain);
        let (name, after) = entity.strip_prefix('&')?.split_once(';')?;
        out.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let number = name.strip_prefix('#')?;
                let code = match number.strip_prefix('x') {
                    Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                    None => number.parse().ok()?,
                };
                char::from_u32(code)?
            }
        });
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_and_their_entities_replaced() {
        let text = "<A>\n<B>x&amp;&lt;&gt;&quot;&apos;&#x41;&#66;</B><C></C><D>a<E/></D><F>&no;</F><G>&</G><H>";
        assert_eq!(element(text, "B").as_deref(), Some("x&<>\"'AB"));
        assert_eq!(element(text, "C").as_deref(), Some(""));
        for name in ["A", "D", "F", "G", "H", "Z"] {
            assert_eq!(element(text, name), None, "{name}");
        }
    }
}
