/*
 * Bookmarks.
 */
#include "internal.h"

#include <string.h>
#include <sys/dsl_bookmark.h>

int
zs_bookmark(zs_names_t of, zs_names_t marks, zs_items_t items)
{
	nvlist_t *list = fnvlist_alloc();
	nvlist_t *errors = fnvlist_alloc();
	int error = (of.count == marks.count ? 0 : EINVAL);

	for (size_t i = 0; i < marks.count && error == 0; i++) {
		if (zs_check_bookmark(marks.at[i]) != 0 ||
		    (zs_check_snapshot(of.at[i]) != 0 &&
		    zs_check_bookmark(of.at[i]) != 0))
			error = EINVAL;
		else if (nvlist_exists(list, marks.at[i]))
			error = EEXIST;
		else
			fnvlist_add_string(list, marks.at[i], of.at[i]);
	}
	if (error == 0 && marks.count != 0)
		error = dsl_bookmark_create(list, errors);
	zs_report(errors, items);
	fnvlist_free(errors);
	fnvlist_free(list);
	return (error);
}

int
zs_destroy_bookmarks(zs_names_t names, zs_items_t items)
{
	nvlist_t *list;

	int error = zs_list(names, zs_check_bookmark, &list);
	if (error != 0)
		return (error);
	nvlist_t *errors = fnvlist_alloc();
	error = dsl_bookmark_destroy(list, errors);
	zs_report(errors, items);
	fnvlist_free(errors);
	fnvlist_free(list);
	return (error);
}
