// English for names that are not known beforehand.

const AN = /^(?!one\b|uni|use|eu)[aeiou]/i; // by sound, as far as spelling tells it

// "a seven", "an ankle boot"
export const withArticle = (name) => `${AN.test(name) ? "an" : "a"} ${name}`;
