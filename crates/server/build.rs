//! Makes sure that the folder of the web app exists, because it is embedded at compile time.
//!
//! A checkout without Node must build too. The page it then serves says what to do; the real one is made by
//! `npm run build` in `web/`, which `cargo xtask run` does.

use std::{fs, io, path::Path};

const PAGE: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>Chinwag</title>
<h1>The web app is not built</h1>
<p>This server works, but it was compiled without its web app. Run <code>cargo xtask run</code>, which builds both.</p>
<p>Programs can use the API at once: <a href=\"/api/openapi.json\">its description</a>.</p>
</html>
";

fn main() -> io::Result<()> {
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR for build scripts");
    let dist = Path::new(&manifest).join("../../web/dist");
    let page = dist.join("index.html");
    if !page.exists() {
        fs::create_dir_all(&dist)?;
        fs::write(&page, PAGE)?;
    }
    // New files are noticed too, not only changed ones.
    println!("cargo::rerun-if-changed={}", dist.display());
    println!("cargo::rerun-if-changed=build.rs");
    Ok(())
}
