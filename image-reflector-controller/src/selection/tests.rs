//! Tests of the selected tag, and of policies that select none.

use std::time::Duration;

use flux_api::image::{AlphabeticalPolicy, NumericalPolicy, SemVerPolicy};
use rstest::rstest;

use super::*;

fn semver(range: &str) -> ImagePolicyChoice {
    ImagePolicyChoice {
        semver: Some(SemVerPolicy {
            range: range.to_owned(),
        }),
        ..ImagePolicyChoice::default()
    }
}

fn alphabetical(order: &str) -> ImagePolicyChoice {
    ImagePolicyChoice {
        alphabetical: Some(AlphabeticalPolicy {
            order: Some(order.into()),
        }),
        ..ImagePolicyChoice::default()
    }
}

fn numerical(order: &str) -> ImagePolicyChoice {
    ImagePolicyChoice {
        numerical: Some(NumericalPolicy {
            order: Some(order.into()),
        }),
        ..ImagePolicyChoice::default()
    }
}

fn filter(pattern: &str, extract: &str) -> TagFilter {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    TagFilter {
        pattern: text(pattern),
        extract: text(extract),
    }
}

/// The latest of these tags, as the store has them.
fn select(
    choice: &ImagePolicyChoice,
    tag_filter: Option<&TagFilter>,
    tags: &[&str],
) -> Result<String, String> {
    let order = Order::new(choice).map_err(|error| error.to_string())?;
    let tag_filter = tag_filter.map(Filter::new).transpose();
    let tag_filter = tag_filter.map_err(|error| flux_runtime::outcome::chain(&error))?;
    let claim = Claim::unlimited();
    let mut listed = Tags::default();
    for tag in tags {
        listed.push(tag, &claim).unwrap();
    }
    let stored = listed.sorted(|_| true, &claim).unwrap();
    let clock = Clock::new(Instant::now() + Duration::from_mins(1));
    let found = latest(&order, tag_filter.as_ref(), &stored, &clock, &claim);
    found.map_err(|error| error.to_string())
}

// IR-POL-072, IR-POL-073, IR-POL-076
#[rstest]
#[case("1.0.x", &["1.0.0", "1.0.1", "1.1.0"], "1.0.1")]
#[case("1.0", &["v1.0.0", "1.0.4", "1.1.0"], "1.0.4")]
#[case(">=1.0.0 <2 || ^3", &["1.9.0", "2.0.0", "3.1.0"], "3.1.0")]
#[case("~v1.2", &["1.2.3", "1.3.0"], "1.2.3")]
#[case("1.2 - 2.3", &["1.2.3", "2.3.9", "2.4.0"], "2.3.9")]
// IR-POL-074
#[case(">=1.0.0", &["1.0.0", "1.1.0-rc.1"], "1.0.0")]
#[case(">=1.0.0-0", &["1.0.0", "1.1.0-rc.1"], "1.1.0-rc.1")]
#[case("^1.x-0", &["1.0.0", "1.1.0-rc.1"], "1.1.0-rc.1")]
// IR-POL-075, FR-N-065
#[case(">=1", &["1.2", "1.0.0.1", "1.0.0p", "b9.0.0", "1.1.0"], "1.1.0")]
#[case(">=2021.0.0", &["2021.12.1", "2022.04", "2022.04.1", "2022.04.2-beta"], "2022.04.1")]
#[case(">=2025-0", &["2025.02.03-rc.1"], "2025.02.03-rc.1")]
// IR-POL-077
#[case("*", &["1.0.0", "v1.0.0"], "v1.0.0")]
#[case("*", &["1.0.0+b", "1.0.0"], "1.0.0")]
// FR-N-067
#[case("~3.3.x-0", &["3.3.0-SNAPSHOT.feature.A.4", "3.3.0-SNAPSHOT.fix.B.1"], "3.3.0-SNAPSHOT.fix.B.1")]
#[case(">=0.0.0-0", &["1.0.0-2", "1.0.0-10", "1.0.0-a", "1.0.0-B"], "1.0.0-a")]
// FR-N-068
#[case(">=0.0.0-0", &["v0.0.1", "v0.0.1-1-abcd"], "v0.0.1")]
fn the_highest_version_in_the_range(
    #[case] range: &str,
    #[case] tags: &[&str],
    #[case] expected: &str,
) {
    assert_eq!(select(&semver(range), None, tags).as_deref(), Ok(expected));
}

// IR-POL-071
#[rstest]
fn ranges_that_are_invalid(#[values("", "a", "1x", "x1", "-1", "1.0.0p", "*-*")] range: &str) {
    assert!(Order::new(&semver(range)).is_err(), "{range}");
    let error = Order::new(&semver("a")).unwrap_err().to_string();
    assert_eq!(error, "improper constraint: \"a\"");
}

#[rstest]
// IR-POL-080
#[case(alphabetical("asc"), &["a", "b", "B", "10", "9"], Ok("b"))]
#[case(alphabetical("desc"), &["a", "b", "B", "10", "9"], Ok("10"))]
#[case(alphabetical(""), &["a", "b"], Ok("b"))]
// IR-POL-081
#[case(alphabetical("Desc"), &["a", "b"], Ok("a"))]
#[case(numerical("ASC"), &["1", "2"], Ok("2"))]
#[case(
    numerical("down"),
    &["1"],
    Err("invalid order argument provided: 'DOWN', must be one of: ASC, DESC")
)]
// IR-POL-082
#[case(numerical("asc"), &["1", "20", "3"], Ok("20"))]
#[case(numerical("desc"), &["1", "20", "3"], Ok("1"))]
#[case(numerical("asc"), &["-1", "1e3", "999", "0x1p4"], Ok("1e3"))]
#[case(numerical("desc"), &["-1", "-inf", "3"], Ok("-inf"))]
// IR-POL-084: byte-wise descending, so the smaller text is the later one
#[case(numerical("asc"), &["1.0", "1", "01"], Ok("01"))]
// IR-POL-085, FR-N-070
#[case(numerical("asc"), &["20260101123456781", "20260101123456782"], Ok("20260101123456782"))]
#[case(numerical("desc"), &["20260101123456782", "20260101123456781"], Ok("20260101123456781"))]
#[case(numerical("asc"), &["552613297731", "551067109282849"], Ok("551067109282849"))]
// IR-POL-083
#[case(numerical("asc"), &["1", "b"], Err("failed to parse invalid numeric value 'b'"))]
#[case(numerical("asc"), &["1e999"], Err("failed to parse invalid numeric value '1e999'"))]
// IR-POL-078
#[case(semver(">2"), &["1.0.0"], Err("unable to determine latest version from provided list"))]
// IR-POL-079
#[case(semver("*"), &[], Err("version list argument cannot be empty"))]
#[case(alphabetical("asc"), &[], Err("version list argument cannot be empty"))]
#[case(numerical("desc"), &[], Err("version list argument cannot be empty"))]
// IR-POL-070
#[case(ImagePolicyChoice::default(), &["a"], Err("given ImagePolicyChoice object is invalid"))]
fn orders(
    #[case] choice: ImagePolicyChoice,
    #[case] tags: &[&str],
    #[case] expected: Result<&str, &str>,
) {
    let found = select(&choice, None, tags);
    assert_eq!(found.as_deref().map_err(String::as_str), expected);
}

// IR-POL-014
#[test]
fn of_several_policies_semver_counts_first_and_numerical_last() {
    let both = |one: ImagePolicyChoice, other: ImagePolicyChoice| ImagePolicyChoice {
        semver: one.semver.or(other.semver),
        alphabetical: one.alphabetical.or(other.alphabetical),
        numerical: one.numerical.or(other.numerical),
    };
    let tags = ["1.0.0", "1.1.0", "1.10.0"];
    let choice = both(semver("<1.5"), both(alphabetical("desc"), numerical("asc")));
    assert_eq!(select(&choice, None, &tags).as_deref(), Ok("1.1.0"));
    let choice = both(numerical("asc"), alphabetical("desc"));
    assert_eq!(select(&choice, None, &tags).as_deref(), Ok("1.0.0"));
}

#[rstest]
// IR-POL-086
#[case(semver("*"), filter("1$", ""), &["1.0.1", "1.0.2"], Ok("1.0.1"))]
#[case(semver("*"), filter("", ""), &["1.0.1", "1.0.2"], Ok("1.0.2"))]
#[case(
    semver("*"),
    filter("[", ""),
    &["1.0.1"],
    Err("invalid regular expression pattern '[': error parsing regexp: missing closing ]: `[`")
)]
#[case(
    semver("*"),
    filter("(?=a)", ""),
    &["1.0.1"],
    Err("invalid regular expression pattern '(?=a)': error parsing regexp: invalid or unsupported Perl syntax: `(?=`")
)]
// IR-POL-087, IR-POL-088, IR-POL-089
#[case(
    numerical("asc"),
    filter("^main-[a-f0-9]+-(?P<ts>[0-9]+)$", "$ts"),
    &["main-abc-100", "main-def-99", "dev-1-200", "main-x"],
    Ok("main-abc-100")
)]
#[case(
    semver(">=1"),
    filter("^(?P<v>.*)-fips$", "${v}.0"),
    &["1.2-fips", "1.10-fips", "9.9.9"],
    Ok("1.10-fips")
)]
#[case(alphabetical("asc"), filter("^(.)(.)", "$2$1"), &["az", "zb", "c"], Ok("az"))]
#[case(alphabetical("asc"), filter("(.)(.)", "$1x"), &["az", "zb"], Ok("az"))]
// IR-POL-090
#[case(numerical("asc"), filter("^(\\d+)-.*$", "$1"), &["5-a", "5-c", "5-b"], Ok("5-a"))]
// IR-POL-092
#[case(
    numerical("asc"),
    filter("^v\\d+$", ""),
    &["v1"],
    Err("failed to parse invalid numeric value 'v1'")
)]
// IR-POL-079
#[case(semver("*"), filter("^x", ""), &["1.0.0"], Err("version list argument cannot be empty"))]
// FR-N-071
#[case(
    semver("1.x"),
    filter("^(?P<ver>[0-9]+(\\.[0-9]+){2})\\.(?P<ts>[0-9]+)-.*", "$ver"),
    &["1.0.0.1-a", "1.2.0.2-b", "2.0.0.3-c"],
    Ok("1.2.0.2-b")
)]
fn filters(
    #[case] choice: ImagePolicyChoice,
    #[case] tag_filter: TagFilter,
    #[case] tags: &[&str],
    #[case] expected: Result<&str, &str>,
) {
    let found = select(&choice, Some(&tag_filter), tags);
    assert_eq!(found.as_deref().map_err(String::as_str), expected);
}

// IR-POL-091: ties are decided by the order of the tags, with a filter as without
#[test]
fn equal_candidates_are_selected_alike_each_time() {
    let tags: Vec<String> = (0..200).map(|n| format!("v1.0.0-{n:03}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let first = filter("^v(?P<v>.*)-(?P<n>\\d+)$", "$v+$n");
    for _ in 0..10 {
        let found = select(&semver("*"), Some(&first), &tags);
        assert_eq!(found.as_deref(), Ok("v1.0.0-199"));
    }
}

#[test]
fn hostile_filters_and_lists_have_an_end() {
    let large = filter(&r"\pL{40}".repeat(20), "");
    let error = select(&semver("*"), Some(&large), &["1.0.0"]).unwrap_err();
    assert!(error.contains("expression too large"), "{error}");
    let copies = filter("(.*)", &"$1".repeat(5000));
    let error = select(&alphabetical("asc"), Some(&copies), &["1.0.0"]).unwrap_err();
    assert_eq!(error, SelectError::Empty.to_string());

    let tags = Tags::of_lines("1.0.0\n".repeat(5000));
    let order = Order::new(&semver("*")).unwrap();
    let (over, claim) = (Clock::new(Instant::now()), Claim::unlimited());
    let error = latest(&order, None, &tags, &over, &claim).unwrap_err();
    assert!(matches!(error, SelectError::Time), "{error}");

    let budget = flux_budget::Budget::new(1 << 10);
    let each = Filter::new(&filter("(.*)", "$1")).unwrap();
    let tags: String = (0..100).map(|n| format!("1.0.{n}\n")).collect();
    let clock = Clock::new(Instant::now() + Duration::from_mins(1));
    let tags = Tags::of_lines(tags);
    let error = latest(&order, Some(&each), &tags, &clock, &budget.claim()).unwrap_err();
    assert!(matches!(error, SelectError::Memory(_)), "{error}");
}
