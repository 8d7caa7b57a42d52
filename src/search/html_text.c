/*
 * html_text.c
 *		The text of a description that may be HTML.
 *
 * This is for finding words, and not for showing HTML to anybody: what comes out is
 * escaped again where it is shown. A tag begins with < and a letter, a slash, ! or ?, and
 * ends with the next > that is not within a quoted attribute. A comment ends with -->.
 * The contents of script and style are no text. What has a beginning and no end is text.
 * An entity ends with a semicolon: without it, "?a=1&copy=2" would lose a parameter.
 *
 * No input takes more than linear time: when something has no end, that is noted, and not
 * looked for again.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "search/fold.h"
#include "search/html_entities.h"
#include "search/html_text.h"
#include "search/utf8_text.h"

/* The longest entity: a name, or a number with leading zeros, without & and semicolon. */
#define MAX_ENTITY 12

typedef struct Html
{
	const char *next;
	const char *end;
	bool		lacks_end_of_tag;	/* behind here is no > */
	bool		lacks_open_end; /* behind here is no > but within quotes */
	bool		lacks_quote[2]; /* behind here is no " and no ' */
	bool		lacks_end_of_comment;
	bool		lacks_end_of_script;
	bool		lacks_end_of_style;
} Html;

static bool
is_ascii_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Looks for a word, in either case, and returns what is behind it, or NULL. */
static const char *
find_behind(const char *from, const char *end, const char *word)
{
	int			length = strlen(word);

	for (; end - from >= length; from++)
	{
		CHECK_FOR_INTERRUPTS();
		if (*from == *word && pg_strncasecmp(from, word, length) == 0)
			return from + length;
	}
	return NULL;
}

/*
 * Looks for the end of a tag outside of quotes, and returns what is behind it. A quote
 * that is not closed is a character like others.
 */
static const char *
find_open_end(Html *html, const char *from)
{
	for (; from < html->end; from++)
	{
		CHECK_FOR_INTERRUPTS();
		if (*from == '>')
			return from + 1;
		if (*from == '"' || *from == '\'')
		{
			bool	   *lacks_quote = &html->lacks_quote[*from == '"' ? 0 : 1];
			const char *close = NULL;

			if (!*lacks_quote)
				close = memchr(from + 1, *from, html->end - from - 1);
			if (close == NULL)
				*lacks_quote = true;
			else
				from = close;
		}
	}
	return NULL;
}

/* What is behind the tag that begins here. NULL if it does not end. */
static const char *
end_of_tag(Html *html, const char *from)
{
	const char *end;

	if (html->lacks_end_of_tag)
		return NULL;
	if (!html->lacks_open_end)
	{
		end = find_open_end(html, from);
		if (end != NULL)
			return end;
		html->lacks_open_end = true;
	}
	end = memchr(from, '>', html->end - from);
	if (end == NULL)
		html->lacks_end_of_tag = true;
	return end == NULL ? NULL : end + 1;
}

/* Does the tag that begins here have this name? */
static bool
has_tag_name(const char *tag, const char *end, const char *name)
{
	int			length = strlen(name);

	return end - tag > length + 1 && pg_strncasecmp(tag + 1, name, length) == 0 &&
		!is_ascii_letter(tag[length + 1]);
}

/*
 * What is behind an element whose contents are no text. from is behind its first tag,
 * which is returned if there is no last tag.
 */
static const char *
end_of_element(Html *html, const char *from, const char *last_tag, bool *lacks_end)
{
	const char *end;

	if (*lacks_end)
		return from;
	end = find_behind(from, html->end, last_tag);
	if (end != NULL)
		end = end_of_tag(html, end);
	if (end == NULL)
		*lacks_end = true;
	return end == NULL ? from : end;
}

/* What is behind the tag, comment or element that begins here. NULL if this is text. */
static const char *
end_of_markup(Html *html, const char *from)
{
	const char *end;

	if (html->end - from < 2 ||
		!(is_ascii_letter(from[1]) || from[1] == '/' || from[1] == '!' || from[1] == '?'))
		return NULL;
	if (html->end - from >= 4 && memcmp(from, "<!--", 4) == 0 && !html->lacks_end_of_comment)
	{
		end = find_behind(from + 2, html->end, "-->");
		if (end != NULL)
			return end;
		html->lacks_end_of_comment = true;
	}
	end = end_of_tag(html, from + 1);
	if (end == NULL)
		return NULL;
	if (has_tag_name(from, html->end, "script"))
		return end_of_element(html, end, "</script", &html->lacks_end_of_script);
	if (has_tag_name(from, html->end, "style"))
		return end_of_element(html, end, "</style", &html->lacks_end_of_style);
	return end;
}

/*
 * The character of a number, &#233; or &#xE9;, of which the & and # are left out. 0 if it
 * is none.
 */
static int32
numbered_character(const char *number, int length)
{
	bool		is_hexadecimal = length > 0 && (number[0] == 'x' || number[0] == 'X');
	int			base = is_hexadecimal ? 16 : 10;
	int32		character = 0;

	if (length == (is_hexadecimal ? 1 : 0))
		return 0;
	for (int i = is_hexadecimal ? 1 : 0; i < length; i++)
	{
		char		c = number[i];
		int			digit = 16;

		if (c >= '0' && c <= '9')
			digit = c - '0';
		else if (is_ascii_letter(c))
			digit = pg_ascii_tolower((unsigned char) c) - 'a' + 10;
		if (digit >= base)
			return 0;
		character = character * base + digit;
		if (character > 0x10FFFF)
			return 0;
	}
	if (character < ' ' || (character >= 0xD800 && character <= 0xDFFF))
		return ' ';
	return character;
}

/*
 * Decodes the entity that begins here, and moves past it. Returns the length of what it
 * wrote, or 0 if there is none, or one that the database cannot represent.
 */
static int
decode_entity(Html *html, char *text)
{
	const char *name = html->next + 1;
	const char *semicolon = memchr(name, ';', Min(html->end - name, MAX_ENTITY + 1));
	char		utf8[ATLAS_MAX_UTF8];
	const char *bytes;
	int32		character;
	int			length;

	if (semicolon == NULL || semicolon == name)
		return 0;
	if (*name == '#')
		character = numbered_character(name + 1, semicolon - name - 1);
	else
		character = atlas_html_entity(name, semicolon - name);
	if (character == 0)
		return 0;
	bytes = atlas_from_utf8_text(utf8, atlas_write_utf8(utf8, character), &length);
	if (bytes == NULL || length > semicolon + 1 - html->next)
		return 0;
	memcpy(text, bytes, length);
	html->next = semicolon + 1;
	return length;
}

/* Copies up to the next < or &. Returns how much it was. */
static int
copy_text(Html *html, char *text)
{
	const char *from = html->next;

	while (html->next < html->end && *html->next != '<' && *html->next != '&')
		html->next++;
	memcpy(text, from, html->next - from);
	return html->next - from;
}

char *
atlas_html_text(const char *html_text, int length, int *text_length)
{
	char	   *text = palloc((Size) length + 1);
	char	   *to = text;
	Html		html = {0};

	html.next = html_text;
	html.end = html_text + length;
	while (html.next < html.end)
	{
		const char *end = NULL;
		int			decoded = 0;

		CHECK_FOR_INTERRUPTS();
		to += copy_text(&html, to);
		if (html.next == html.end)
			break;
		if (*html.next == '<')
			end = end_of_markup(&html, html.next);
		else
			decoded = decode_entity(&html, to);
		if (end != NULL)
		{
			if (to > text && to[-1] != ' ')
				*to++ = ' ';
			html.next = end;
		}
		else if (decoded > 0)
			to += decoded;
		else
			*to++ = *html.next++;
	}
	*to = '\0';
	*text_length = to - text;
	return text;
}
