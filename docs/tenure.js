// A rule is one paragraph whose first line is its head. A line break sets the text apart from the head, an id makes the
// rule a target, and each mention of a rule on another page becomes a link. Without scripts the pages say the same, in
// one run.

(() => {
    const main = document.querySelector("main");
    if (!main) {
        return;
    }
    const heads = main.querySelectorAll("p > strong:first-child");
    for (const head of heads) {
        const found = /^r\[([a-z0-9-]+\.[a-z0-9-]+)\]$/.exec(head.textContent);
        if (!found) {
            continue;
        }
        const rule = head.parentElement;
        rule.id = `r-${found[1]}`;
        for (const node of rule.childNodes) {
            const at = node.nodeType === Node.TEXT_NODE ? node.data.indexOf("\n") : -1;
            if (at >= 0) {
                node.splitText(at).before(document.createElement("br"));
                break;
            }
        }
    }

    const texts = [];
    const walker = document.createTreeWalker(main, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const inside = walker.currentNode.parentElement.closest("a, code, pre, p > strong:first-child");
        if (!inside && walker.currentNode.data.includes("r[")) {
            texts.push(walker.currentNode);
        }
    }
    for (let text of texts) {
        for (;;) {
            const found = /r\[([a-z0-9-]+\.[a-z0-9-]+)\]/.exec(text.data);
            if (!found) {
                break;
            }
            const link = document.createElement("a");
            link.href = `${path_to_root}protocol/rules.html#r-${found[1]}`;
            link.textContent = found[0];
            const mention = text.splitText(found.index);
            text = mention.splitText(found[0].length);
            mention.replaceWith(link);
        }
    }

    // The target did not exist when the page was loaded.
    if (location.hash.startsWith("#r-")) {
        document.getElementById(location.hash.slice(1))?.scrollIntoView();
    }
})();
