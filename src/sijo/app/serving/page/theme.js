// Before anything is drawn: the light or dark that was chosen last; the system's where none was.
try {
  const theme = localStorage.getItem("sijo.theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch {
  // nothing is kept
}
