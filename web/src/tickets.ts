// Opening addresses that are good for one visit: a download here, a report in a tab of its own.

export function download(address: string | undefined): void {
  if (!address) return;
  const link = document.createElement("a");
  link.href = address;
  link.download = "";
  link.click();
}

/** A tab must be opened while the click lasts; its address may come later. */
export async function openTab(address: () => Promise<string | undefined>): Promise<void> {
  const tab = window.open("", "_blank");
  const found = await address();
  if (!tab) return;
  if (!found) return tab.close();
  tab.opener = null;
  tab.location.replace(new URL(found, location.href));
}
